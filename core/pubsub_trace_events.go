package core

import (
	"bufio"
	"encoding/hex"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// TraceOptions are the options of PubsubTrace.
type TraceOptions struct {
	File     string   `json:"file" doc:"file that gets the events, one JSON object a line; created with mode 0600, or added to"`
	Events   []string `json:"events" enum:"publish,deliver,duplicate,reject,undeliverable,validate,send,receive,drop,join,leave,graft,prune,open,close,throttle" doc:"events that are recorded; empty: all"`
	Topics   []string `json:"topics" doc:"topics whose events are recorded; those of no topic, or of several, are too; empty: all"`
	Capacity int      `json:"capacity" min:"1" max:"1000000" doc:"events that may wait; then the oldest are dropped"`
}

// ParseTraceOptions reads TraceOptions from strict JSON; empty is the defaults.
func ParseTraceOptions(doc []byte) (TraceOptions, error) {
	o := TraceOptions{Events: []string{}, Topics: []string{}, Capacity: 16384}
	err := parseOptions(doc, &o, "")
	return o, err
}

func init() {
	registerOptions("pubsub_trace", "options of p2p_pubsub_trace", func() any { o, _ := ParseTraceOptions(nil); return &o })
}

// TraceEvent is one thing that pubsub did, or that happened to it. docs/pubsub.md lists which fields a type uses.
type TraceEvent struct {
	Type     string
	Time     time.Time
	Topic    string
	Peer     peer.ID // whom it came from, or goes to
	Author   peer.ID
	ID       string // of a message
	Size     int    // of its data
	Reason   string
	Protocol string
	Peers    int // to how many it was published
	Packet   *TracePacket
}

// TracePacket is what a packet holds.
type TracePacket struct {
	Messages      []TraceMessage      `json:"messages,omitempty"`
	Subscriptions []TraceSubscription `json:"subscriptions,omitempty"`
	IHave         []TraceAnnouncement `json:"ihave,omitempty"`
	IWant         []string            `json:"iwant,omitempty"`
	IDontWant     []string            `json:"idontwant,omitempty"`
	Graft         []string            `json:"graft,omitempty"`
	Prune         []string            `json:"prune,omitempty"`
}

// TraceMessage is a message in a packet.
type TraceMessage struct {
	Topic string `json:"topic"`
	ID    string `json:"id"`
	Size  int    `json:"size"`
}

// TraceSubscription is a change of subscription in a packet.
type TraceSubscription struct {
	Topic     string `json:"topic"`
	Subscribe bool   `json:"subscribe"`
}

// TraceAnnouncement names messages that a peer has.
type TraceAnnouncement struct {
	Topic string   `json:"topic"`
	IDs   []string `json:"ids"`
}

// JSON returns the event as one JSON object on one line.
func (e *TraceEvent) JSON() []byte {
	text := func(id peer.ID) string {
		if id == "" {
			return ""
		}
		return id.String()
	}
	doc, err := marshalJSON(struct {
		Type     string `json:"type"`
		Time     string `json:"time"`
		Topic    string `json:"topic,omitempty"`
		Peer     string `json:"peer,omitempty"`
		Author   string `json:"author,omitempty"`
		ID       string `json:"id,omitempty"`
		Size     int    `json:"size,omitempty"`
		Reason   string `json:"reason,omitempty"`
		Protocol string `json:"protocol,omitempty"`
		Peers    int    `json:"peers,omitempty"`
		*TracePacket
	}{e.Type, e.Time.UTC().Format(time.RFC3339Nano), e.Topic, text(e.Peer), text(e.Author), hex.EncodeToString([]byte(e.ID)), e.Size, e.Reason, e.Protocol,
		e.Peers, e.Packet})
	if err != nil {
		return nil
	}
	return doc
}

// Trace records what pubsub does, until Close. Its methods may be called from any goroutine.
type Trace struct {
	p      *publisher
	o      TraceOptions
	box    *mailbox[*TraceEvent]
	unhook func()
	file   *os.File // nil: none
	out    *bufio.Writer
	failed atomic.Pointer[string] // why the file got no more

	once sync.Once
}

// PubsubTrace hands what pubsub does to inbox, or to a file, or both, from now until Close. What is not taken in time is dropped, counted and announced.
func (n *Node) PubsubTrace(o TraceOptions, inbox Inbox[*TraceEvent]) (*Trace, error) {
	p, err := n.pubsubOn()
	if err != nil {
		return nil, err
	}
	t := &Trace{p: p, o: o}
	if o.File != "" {
		if info, err := os.Stat(o.File); err == nil && !info.Mode().IsRegular() { // before it is opened, which would wait on a pipe
			return nil, Errorf(ErrPermission, "file %q: not a regular file", o.File)
		}
		if t.file, err = os.OpenFile(o.File, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return nil, fileError("file", o.File, err)
		}
		t.out = bufio.NewWriterSize(t.file, 64<<10)
		inbox = t.filed(inbox)
	}
	t.box = newMailbox("pubsub trace", inbox, DropOldest, o.Capacity, 64<<20, nil)
	if err = n.onClose(&t.unhook, t.Close); err != nil {
		t.end(err)
		return nil, err
	}
	p.tracer.traces.add(t)
	return t, nil
}

// filed also writes to the file what goes to inbox.
func (t *Trace) filed(inbox Inbox[*TraceEvent]) Inbox[*TraceEvent] {
	write := func(line []byte) {
		if t.failed.Load() != nil {
			return
		}
		_, err := t.out.Write(append(line, '\n'))
		if err == nil && t.box.stats().Waiting == 0 { // nothing follows at once
			err = t.out.Flush()
		}
		if err != nil {
			words := oneLine(err.Error())
			t.failed.Store(&words)
			logger.Error("the trace's file takes no more", "file", t.o.File, "error", err)
		}
	}
	return Inbox[*TraceEvent]{
		Deliver: func(e *TraceEvent) {
			write(e.JSON())
			if inbox.Deliver != nil {
				inbox.Deliver(e)
			}
		},
		Dropped: func(n uint64) {
			line, _ := marshalJSON(struct {
				Type  string `json:"type"`
				Count uint64 `json:"count"`
			}{"dropped", n})
			write(line)
			if inbox.Dropped != nil {
				inbox.Dropped(n)
			}
		},
		Closed: func(err error) {
			t.out.Flush()
			t.file.Close()
			if inbox.Closed != nil {
				inbox.Closed(err)
			}
		},
	}
}

// Close ends the trace. What waits is dropped.
func (t *Trace) Close() { t.end(nil) }

func (t *Trace) end(err error) {
	t.once.Do(func() {
		t.unhook()
		t.p.tracer.traces.remove(t)
	})
	t.box.close(err) // waits: outside of once, where its Inbox may be
}

// TraceInfo is what Info returns; docs/info.md explains the keys.
type TraceInfo struct {
	Kind      string `json:"kind"`
	File      string `json:"file"`
	FileError string `json:"file_error"`
	Delivered uint64 `json:"delivered"`
	Dropped   uint64 `json:"dropped"`
	Waiting   int    `json:"waiting"`
}

// Info returns a TraceInfo.
func (t *Trace) Info() any {
	b := t.box.stats()
	info := TraceInfo{Kind: "pubsub_trace", File: t.o.File, Delivered: b.Delivered, Dropped: b.Dropped, Waiting: b.Waiting}
	if words := t.failed.Load(); words != nil {
		info.FileError = *words
	}
	return info
}

func (t *Trace) wants(e *TraceEvent) bool {
	return (len(t.o.Events) == 0 || slices.Contains(t.o.Events, e.Type)) && (len(t.o.Topics) == 0 || e.Topic == "" || slices.Contains(t.o.Topics, e.Topic))
}

// traces are those of a node. While there are none, an event costs one load.
type traces struct {
	all atomic.Pointer[[]*Trace] // replaced as a whole; nil: none
	mu  sync.Mutex               // held while it is replaced

	ids sync.Map // data of a message that is being published -> its id
}

func (s *traces) on() bool { return s.all.Load() != nil }

func (s *traces) add(t *Trace) { s.change(func(all []*Trace) []*Trace { return append(all, t) }) }

func (s *traces) remove(t *Trace) {
	s.change(func(all []*Trace) []*Trace {
		return slices.DeleteFunc(all, func(other *Trace) bool { return other == t })
	})
}

func (s *traces) change(fn func([]*Trace) []*Trace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Trace
	if old := s.all.Load(); old != nil {
		all = slices.Clone(*old)
	}
	if all = fn(all); len(all) == 0 {
		s.all.Store(nil)
	} else {
		s.all.Store(&all)
	}
}

// put hands an event to the traces that want it. It never waits.
func (s *traces) put(e *TraceEvent) {
	all := s.all.Load()
	if all == nil {
		return
	}
	e.Time = time.Now()
	size := 256 + len(e.Topic) + len(e.ID)
	if k := e.Packet; k != nil {
		size += 128 * (len(k.Messages) + len(k.Subscriptions) + len(k.IWant) + len(k.IDontWant) + len(k.Graft) + len(k.Prune))
		for _, a := range k.IHave {
			size += 128 * len(a.IDs)
		}
	}
	for _, t := range *all {
		if t.wants(e) {
			t.box.put(t.p.node.ctx, e, size)
		}
	}
}

func (s *traces) message(kind string, m *pubsub.Message, reason string) {
	if s.on() {
		s.put(&TraceEvent{Type: kind, Topic: m.GetTopic(), Peer: m.ReceivedFrom, Author: authorOf(m), ID: m.ID, Size: len(m.Data), Reason: reason})
	}
}

func (s *traces) packet(kind string, rpc *pubsub.RPC, id peer.ID, p *publisher) {
	if !s.on() {
		return
	}
	k := &TracePacket{}
	for _, m := range rpc.GetPublish() {
		k.Messages = append(k.Messages, TraceMessage{m.GetTopic(), hex.EncodeToString([]byte(p.idOf(m))), len(m.Data)})
	}
	for _, sub := range rpc.GetSubscriptions() {
		k.Subscriptions = append(k.Subscriptions, TraceSubscription{sub.GetTopicid(), sub.GetSubscribe()})
	}
	hexes := func(ids []string) (texts []string) {
		for _, id := range ids {
			texts = append(texts, hex.EncodeToString([]byte(id)))
		}
		return texts
	}
	control := rpc.GetControl()
	for _, c := range control.GetIhave() {
		k.IHave = append(k.IHave, TraceAnnouncement{c.GetTopicID(), hexes(c.GetMessageIDs())})
	}
	for _, c := range control.GetIwant() {
		k.IWant = append(k.IWant, hexes(c.GetMessageIDs())...)
	}
	for _, c := range control.GetIdontwant() {
		k.IDontWant = append(k.IDontWant, hexes(c.GetMessageIDs())...)
	}
	for _, c := range control.GetGraft() {
		k.Graft = append(k.Graft, c.GetTopicID())
	}
	for _, c := range control.GetPrune() {
		k.Prune = append(k.Prune, c.GetTopicID())
	}
	s.put(&TraceEvent{Type: kind, Peer: id, Packet: k})
}

// noteID makes fn tell the ids of messages that expect was called for. Upstream does not tell the id of what it was given to publish, but it asks
// for it, once.
func (t *pubsubTracer) noteID(fn pubsub.MsgIdFunction) pubsub.MsgIdFunction {
	return func(m *pb.Message) string {
		id := fn(m)
		if t.traces.on() {
			if _, ok := t.traces.ids.Load(unsafe.SliceData(m.Data)); ok {
				t.traces.ids.Store(unsafe.SliceData(m.Data), id)
			}
		}
		return id
	}
}

// expect has the id of data noted, until published.
func (s *traces) expect(data []byte) {
	if s.on() {
		s.ids.Store(unsafe.SliceData(data), "")
	}
}

// published records that data was sent to so many peers, with the id that was noted; without an error only.
func (s *traces) published(topic string, data []byte, author peer.ID, peers int, err error) {
	if id, ok := s.ids.LoadAndDelete(unsafe.SliceData(data)); ok && err == nil {
		s.put(&TraceEvent{Type: "publish", Topic: topic, Author: author, ID: id.(string), Size: len(data), Peers: peers})
	}
}
