package core_test

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/gologshim"
	"golang.org/x/sys/unix"

	"github.com/libp2pgo/libp2pgo/core"
)

func logOptions(t testing.TB, doc string) core.LogOutputOptions {
	t.Helper()
	o, err := core.ParseLogOutputOptions([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// loud opens the log for a test, and closes it again.
func loud(t testing.TB) {
	t.Helper()
	core.SetLogLevel("*", "debug")
	t.Cleanup(func() {
		core.SetLogLevel("*", "off")
		core.SetLogFD(-1, core.LogOutputOptions{})
		core.SetLogFile("", core.LogOutputOptions{})
	})
}

func TestLogFD_WritesLines(t *testing.T) {
	loud(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := core.SetLogFD(int(write.Fd()), logOptions(t, "")); err != nil {
		t.Fatal(err)
	}
	write.Close() // it has its own
	logger := gologshim.Logger("test")
	logger.Warn("two words", "key", "a value", "other", 5, "lines", "one\ntwo\x1b[31m")
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	stamp, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if _, err := time.Parse(time.RFC3339, stamp); err != nil || rest != `warn test two words key="a value" other=5 lines="one; two\x1b[31m"` {
		t.Errorf("line is %q", line)
	}
	core.SetLogFD(-1, core.LogOutputOptions{})
	if n, err := read.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("it is still open: %d, %v", n, err)
	}
	mustMatch(t, core.SetLogFD(987654, logOptions(t, "")), core.ErrInvalid, "987654")
}

// A reader that does not read holds nobody up: what it misses is counted, and told when it reads again. Over a pipe and over a socket; the descriptor
// stays blocking for its owner.
func TestLogFD_NeverWaits(t *testing.T) {
	pipe := func(t *testing.T) (read, write *os.File) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return read, write
	}
	socket := func(t *testing.T) (read, write *os.File) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(pair[0]), "read"), os.NewFile(uintptr(pair[1]), "write")
	}
	for name, open := range map[string]func(*testing.T) (*os.File, *os.File){"pipe": pipe, "socket": socket} {
		t.Run(name, func(t *testing.T) {
			loud(t)
			read, write := open(t)
			defer read.Close()
			fd := write.Fd() // makes it blocking
			defer write.Close()
			if err := core.SetLogFD(int(fd), logOptions(t, `{"format": "json"}`)); err != nil {
				t.Fatal(err)
			}
			_, before := core.LogCounts()
			logger := gologshim.Logger("test")
			text := strings.Repeat("x", 1000)
			begun := time.Now()
			const records = 3000
			for i := range records {
				logger.Debug(text, "number", i)
			}
			if took := time.Since(begun); took > limit/2 {
				t.Errorf("logging took %v", took)
			}
			until(t, "records are lost", func() bool { _, dropped := core.LogCounts(); return dropped > before })
			if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("the owner's descriptor was changed: %x, %v", flags, err)
			}
			var seen, lost int
			lines := make(chan string, records)
			go func() {
				scanner := bufio.NewScanner(read)
				for scanner.Scan() {
					lines <- scanner.Text()
				}
				close(lines)
			}()
			for i := 0; ; i++ {
				logger.Debug("still there", "number", -1)
				var line string
				select {
				case line = <-lines:
				case <-time.After(10 * time.Millisecond):
					continue
				}
				var record struct {
					Level, Subsystem, Message string
					Fields                    map[string]string
				}
				if err := json.Unmarshal([]byte(line), &record); err != nil {
					t.Fatalf("line %q: %v", line, err)
				}
				if record.Message == "log records were lost" {
					count, err := strconv.Atoi(record.Fields["count"])
					if err != nil || count < 1 {
						t.Fatalf("line %q", line)
					}
					lost += count
				}
				if record.Message == text {
					seen++
				}
				if lost > 0 && seen+lost >= records {
					break
				}
				if i > 100*records {
					t.Fatalf("%d seen, %d lost", seen, lost)
				}
			}
		})
	}
}

func TestLogFile_TurnsWhenFull(t *testing.T) {
	loud(t)
	path := filepath.Join(t.TempDir(), "node.log")
	if err := core.SetLogFile(path, logOptions(t, `{"max_bytes": 4096, "keep": 2}`)); err != nil {
		t.Fatal(err)
	}
	logger := gologshim.Logger("test")
	const records = 200
	for i := range records {
		logger.Info("record", "number", i, "padding", strings.Repeat("x", 50))
	}
	logger.Info(strings.Repeat("long ", 5000))
	core.SetLogFile("", core.LogOutputOptions{}) // writes what waits
	names, _ := filepath.Glob(path + "*")
	if len(names) != 3 {
		t.Fatalf("files: %v", names)
	}
	for _, name := range names {
		state, err := os.Stat(name)
		if err != nil || state.Size() > 4096 || state.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v, %v", name, state.Size(), state.Mode(), err)
		}
	}
	text, _ := os.ReadFile(path)
	if !strings.HasSuffix(string(text), "...\n") {
		t.Errorf("the last line is not cut: %q", text[max(len(text)-100, 0):])
	}
	older, _ := os.ReadFile(path + ".1")
	if !strings.Contains(string(older), fmt.Sprintf("number=%d ", records-1)) {
		t.Errorf("the last record is missing: %q", older)
	}
	mustMatch(t, core.SetLogFile(filepath.Join(t.TempDir(), "no", "such", "folder"), logOptions(t, "")), core.ErrSystem, "no/such/folder")
	mustMatch(t, core.SetLogFile("/dev/null", logOptions(t, "")), core.ErrSystem, "/dev/null")
}

// Secrets never come into the log, at the loudest level, whatever form they might take.
func TestLog_HasNoSecrets(t *testing.T) {
	logged := captureLog(t, "debug")
	networkKey := []byte("0123456789abcdefGHIJKLMNOPQRSTUV")
	var secrets [][]byte
	private := func() *core.Config {
		key, err := core.GenerateKey("ed25519")
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, key, key[4:36])
		c := config(t)
		if err := c.SetSecret("identity.key", key); err != nil {
			t.Fatal(err)
		}
		if err := c.SetSecret("private_network.key", networkKey); err != nil {
			t.Fatal(err)
		}
		return c
	}
	secrets = append(secrets, networkKey)
	a, b := startWith(t, private(), core.Inbox[core.Event]{}), startWith(t, private(), core.Inbox[core.Event]{})
	connect(t, a, b)
	stranger := start(t)
	stranger.Connect(timeout(t), b.Addresses())
	a.Close()
	text := logged()
	if len(text) < 1000 {
		t.Fatalf("hardly anything is logged: %q", text)
	}
	for _, secret := range secrets {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)), base64.StdEncoding.EncodeToString(secret), fmt.Sprint(secret)} {
			if strings.Contains(text, form) {
				t.Errorf("the log has %q", form)
			}
		}
	}
}

// A pipe that nobody reads is refused, not waited for.
func TestLogFile_NamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	o, _ := core.ParseLogOutputOptions(nil)
	ended := make(chan error, 1)
	go func() { ended <- core.SetLogFile(path, o) }()
	select {
	case err := <-ended:
		mustMatch(t, err, core.ErrSystem, path)
	case <-timeout(t).Done():
		t.Fatal("it is waited for")
	}
}
