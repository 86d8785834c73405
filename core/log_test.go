package core_test

import (
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/canonicallog"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

// captureLog collects the log until the test ends.
func captureLog(t testing.TB, level string) func() string {
	t.Helper()
	var mu sync.Mutex
	var b strings.Builder
	core.SetLogSink(func(r core.LogRecord) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(&b, r.Level, r.Subsystem, r.Message, r.Attrs)
	})
	if err := core.SetLogLevel("*", level); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		core.SetLogLevel("*", "off")
		core.SetLogSink(nil)
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}

func TestLogLevels(t *testing.T) {
	mustMatch(t, core.SetLogLevel("*", "loud"), core.ErrInvalid, "loud")
	mustMatch(t, core.SetLogLevel("", "info"), core.ErrInvalid)

	logged := captureLog(t, "debug")
	start(t).Close() // and with it whoever would still write at its level
	if !strings.Contains(logged(), "DEBUG") {
		t.Fatalf("nothing at debug: %q", logged())
	}
	var mu sync.Mutex
	subsystems := map[string]bool{}
	core.SetLogSink(func(r core.LogRecord) {
		mu.Lock()
		defer mu.Unlock()
		if r.Level < slog.LevelDebug || r.Subsystem == "" {
			t.Errorf("record %+v", r)
		}
		subsystems[r.Subsystem] = true
	})
	core.SetLogLevel("*", "off")
	core.SetLogLevel("swarm2", "debug")
	a, b := start(t), start(t)
	connect(t, a, b)
	mu.Lock()
	defer mu.Unlock()
	if len(subsystems) != 1 || !subsystems["swarm2"] {
		t.Fatalf("subsystems %v, not swarm2 alone", subsystems)
	}
}

func TestStandardLogIsCaptured(t *testing.T) {
	defer log.SetFlags(log.Flags())
	defer log.SetOutput(log.Writer())
	logged := captureLog(t, "warn")
	core.CaptureStandardLog()
	log.Printf("from %s", "below")
	if !strings.Contains(logged(), "WARN std from below") {
		t.Fatalf("log is %q", logged())
	}
}

// The loggers of the stack below are of four makes; each comes out at the one place, under its subsystem and at the level that this has.
func TestEveryFamilyIsHeard(t *testing.T) {
	families := map[string]func(words string){
		"swarm2": func(words string) { gologshim.Logger("swarm2").Debug(words, "key", "value") },
		"dht":    func(words string) { golog.Logger("dht").Debugw(words, "key", "value") },
		"canonical-log": func(words string) {
			address, _ := ma.NewMultiaddr("/ip4/192.0.2.1/tcp/1")
			canonicallog.LogMisbehavingPeer("", address, "key=value", nil, words)
		},
		"std": func(words string) { log.Print(words, " key=value") },
	}
	defer log.SetFlags(log.Flags())
	defer log.SetOutput(log.Writer())
	core.CaptureStandardLog()
	logged := captureLog(t, "off")
	families["made-later"] = func(words string) { golog.Logger("made-later").Errorw(words, "key", "value") }
	for subsystem, say := range families {
		say("unheard")
		core.SetLogLevel(subsystem, "debug")
		say("heard by " + subsystem)
		core.SetLogLevel(subsystem, "off")
		say("unheard")
		if text := logged(); !strings.Contains(text, " "+subsystem) || !strings.Contains(text, "heard by "+subsystem) || !strings.Contains(text, "key=value") {
			t.Errorf("%s: %q", subsystem, text)
		}
	}
	if text := logged(); strings.Contains(text, "unheard") {
		t.Errorf("%q", text)
	}
}

// A process with nodes in it, and failures, writes nothing to stdout or stderr.
func TestNothingIsPrinted(t *testing.T) {
	if os.Getenv("LIBP2PGO_TEST_SILENT") != "" { // a child of the test
		address, _ := ma.NewMultiaddr("/ip4/192.0.2.1/tcp/1")
		canonicallog.LogMisbehavingPeer("", address, "test", nil, "words")
		golog.Logger("a new one").Error("words")
		a := start(t, "listen", "/ip4/127.0.0.1/udp/0/quic-v1\n/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/udp/0/webrtc-direct\n/ip4/127.0.0.1/udp/0/quic-v1/webtransport")
		for _, address := range a.Addresses() {
			b := start(t, "listen", "[]")
			if _, err := b.Connect(timeout(t), []string{address}); err != nil {
				t.Fatal(err)
			}
			b.Close()
		}
		c := start(t, "security", "noise")
		a.Connect(timeout(t), []string{"/ip4/127.0.0.1/tcp/1/p2p/" + c.ID().String()})
		c.Close()
		a.Close()
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestNothingIsPrinted$")
	child.Env = append(os.Environ(), "LIBP2PGO_TEST_SILENT=1", "GOLOG_LOG_LEVEL=debug")
	out, err := child.CombinedOutput()
	if err != nil || string(out) != "PASS\n" {
		t.Fatalf("%v: %s", err, out)
	}
}
