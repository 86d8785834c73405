package core_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

type traceLine struct {
	Type, Time, Topic, Peer, Author, ID, Reason, Protocol string
	Size, Peers                                           int
	Count                                                 uint64
	Messages                                              []struct{ Topic, ID string }
	Graft                                                 []string
}

// A trace tells the life of a message, at both ends, in a file and by events.
func TestTrace_TellsTheLifeOfAMessage(t *testing.T) {
	from, to := start(t, "pubsub.heartbeat_ms", "100"), start(t, "pubsub.heartbeat_ms", "100")
	file := filepath.Join(t.TempDir(), "trace.jsonl")
	o, err := core.ParseTraceOptions([]byte(fmt.Sprintf(`{"file": %q}`, file)))
	if err != nil {
		t.Fatal(err)
	}
	sender, err := from.PubsubTrace(o, core.Inbox[*core.TraceEvent]{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var events []traceLine
	o, _ = core.ParseTraceOptions([]byte(`{"events": ["deliver", "reject", "receive", "duplicate"], "topics": ["news"]}`))
	receiver, err := to.PubsubTrace(o, core.Inbox[*core.TraceEvent]{Deliver: func(e *core.TraceEvent) {
		var line traceLine
		if err := json.Unmarshal(e.JSON(), &line); err != nil {
			t.Error(err)
		}
		mu.Lock()
		events = append(events, line)
		mu.Unlock()
	}})
	if err != nil {
		t.Fatal(err)
	}
	connect(t, from, to)
	near, far := join(t, from, "news"), joinWith(t, to, "news", `{"max_size": 10}`, core.Inbox[core.TopicEvent]{})
	there := listen(t, far)
	listen(t, near)
	publish(t, near, "traced", 1)
	id := hex.EncodeToString(there.next(t).ID)
	publish(t, near, "much too long", 1)
	find := func(kind, id string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(events, func(e traceLine) bool {
			return e.Type == kind && (id == "" || e.ID == id) && e.Peer == from.ID().String()
		})
	}
	until(t, "the receiver's events", func() bool { return find("deliver", id) && find("reject", "") && find("receive", "") })
	lines := func() (all []traceLine) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var l traceLine
			if line[len(line)-1] != '\n' || json.Unmarshal(line, &l) != nil {
				return nil // it is being written
			}
			all = append(all, l)
		}
		return all
	}
	has := func(match func(traceLine) bool) func() bool {
		return func() bool { return slices.ContainsFunc(lines(), match) }
	}
	until(t, "publish", has(func(l traceLine) bool {
		return l.Type == "publish" && l.ID == id && l.Topic == "news" && l.Peers == 1 && l.Size == 6 && l.Author == from.ID().String() && l.Time != ""
	}))
	until(t, "send", has(func(l traceLine) bool {
		return l.Type == "send" && l.Peer == to.ID().String() && len(l.Messages) == 1 && l.Messages[0].ID == id
	}))
	until(t, "open, join and graft", func() bool {
		all := lines()
		return slices.ContainsFunc(all, func(l traceLine) bool { return l.Type == "open" && l.Protocol == "/meshsub/1.3.0" }) &&
			slices.ContainsFunc(all, func(l traceLine) bool { return l.Type == "join" }) &&
			slices.ContainsFunc(all, func(l traceLine) bool { return l.Type == "graft" && l.Topic == "news" })
	})
	mu.Lock()
	for _, e := range events {
		if e.Type == "send" || e.Type == "join" {
			t.Errorf("%+v was not asked for", e)
		}
	}
	mu.Unlock()
	sender.Close()
	sender.Close()
	receiver.Close()
	if info := sender.Info().(core.TraceInfo); info.Delivered == 0 || info.Dropped != 0 || info.File != file || info.FileError != "" {
		t.Fatalf("%+v", info)
	}
	before := len(lines())
	publish(t, near, "after", 1)
	there.want(t, "after")
	if len(lines()) != before {
		t.Fatal("it was recorded after the end")
	}
}

// A reader that does not keep up loses the oldest, and is told how many.
func TestTrace_DropsAreCounted(t *testing.T) {
	n := start(t)
	topic := join(t, n, "x")
	goOn := make(chan struct{})
	var got, dropped uint64
	o, _ := core.ParseTraceOptions([]byte(`{"events": ["publish"], "capacity": 4}`))
	trace, err := n.PubsubTrace(o, core.Inbox[*core.TraceEvent]{
		Deliver: func(*core.TraceEvent) { <-goOn; got++ },
		Dropped: func(n uint64) { dropped += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		publish(t, topic, fmt.Sprint(i), 0)
	}
	close(goOn)
	until(t, "nothing waits", func() bool { return trace.Info().(core.TraceInfo).Waiting == 0 })
	trace.Close()
	if got+dropped != 100 || dropped == 0 || trace.Info().(core.TraceInfo).Dropped != dropped {
		t.Fatalf("%d came, %d dropped, %+v", got, dropped, trace.Info())
	}
}

func TestTrace_BadOptions(t *testing.T) {
	n := start(t)
	for _, doc := range []string{`{"events": ["everything"]}`, `{"capacity": 0}`, `{"path": "x"}`} {
		_, err := core.ParseTraceOptions([]byte(doc))
		mustMatch(t, err, core.ErrConfig)
	}
	o, _ := core.ParseTraceOptions(nil)
	o.File = t.TempDir()
	_, err := n.PubsubTrace(o, core.Inbox[*core.TraceEvent]{})
	mustMatch(t, err, core.ErrPermission, "file")
	o.File = filepath.Join(o.File, "missing", "trace")
	_, err = n.PubsubTrace(o, core.Inbox[*core.TraceEvent]{})
	mustMatch(t, err, core.ErrSystem, "missing")
	n.Close()
	_, err = n.PubsubTrace(core.TraceOptions{Capacity: 1}, core.Inbox[*core.TraceEvent]{})
	mustMatch(t, err, core.ErrClosed)
}
