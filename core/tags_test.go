package core_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

func known(n, of *core.Node) core.PeerInfo { return n.PeerInfo(of.ID()).(core.PeerInfo) }

func TestTagsOutlastConnections(t *testing.T) {
	a, b := start(t), start(t)
	if err := a.Tag(b.ID(), "friend", 7); err != nil { // before it is connected
		t.Fatal(err)
	}
	connect(t, a, b)
	for range 2 {
		until(t, "the tag is there", func() bool {
			info := known(a, b)
			return info.Connected && info.Tags["friend"] == 7 && info.TagValue >= 7
		})
		if err := a.Disconnect(b.ID()); err != nil {
			t.Fatal(err)
		}
		if info := known(a, b); info.Tags["friend"] != 7 {
			t.Fatalf("%+v", info.Tags)
		}
		connect(t, a, b)
	}
	if err := a.Tag(b.ID(), "friend", -3); err != nil {
		t.Fatal(err)
	}
	if info := known(a, b); info.Tags["friend"] != -3 {
		t.Fatalf("%+v", info.Tags)
	}
	if err := a.Untag(b.ID(), "friend"); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, a.Untag(b.ID(), "friend"), core.ErrNotFound, "friend", b.ID().String())
	if _, there := known(a, b).Tags["friend"]; there {
		t.Fatal("still tagged")
	}
}

func TestProtection(t *testing.T) {
	a, b := start(t), start(t)
	for _, name := range []string{"x", "y", "x"} {
		if err := a.Protect(b.ID(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := known(a, b).Protected; !slices.Equal(got, []string{"x", "y"}) {
		t.Fatalf("%q", got)
	}
	for i, name := range []string{"x", "y"} {
		still, err := a.Unprotect(b.ID(), name)
		if err != nil || still != (i == 0) {
			t.Fatalf("%s: %v, %v", name, still, err)
		}
	}
	_, err := a.Unprotect(b.ID(), "x")
	mustMatch(t, err, core.ErrNotFound)
	for _, name := range []string{"", "a\nb"} {
		mustMatch(t, a.Tag(b.ID(), name, 1), core.ErrInvalid, "tag")
		mustMatch(t, a.Untag(b.ID(), name), core.ErrInvalid)
		mustMatch(t, a.Protect(b.ID(), name), core.ErrInvalid)
		_, err := a.Unprotect(b.ID(), name)
		mustMatch(t, err, core.ErrInvalid)
	}
	if err := a.Keep([]string{b.ID().String()}); err != nil {
		t.Fatal(err)
	}
	if got := known(a, b).Protected; !slices.Equal(got, []string{"keep"}) {
		t.Fatalf("%q", got)
	}
	a.Close()
	mustMatch(t, a.Protect(b.ID(), "x"), core.ErrClosed)
	_, err = a.Trim(context.Background(), 1)
	mustMatch(t, err, core.ErrClosed)
	mustMatch(t, a.SetWatermarks(1, 2, 3), core.ErrClosed)
}

// hub connects a node to others and returns them.
func hub(t *testing.T, n *core.Node, others int) []*core.Node {
	t.Helper()
	var list []*core.Node
	for range others {
		other := start(t)
		connect(t, n, other)
		list = append(list, other)
	}
	return list
}

func TestTrimClosesTheLeastUseful(t *testing.T) {
	n := start(t, "connections.grace_ms", "0")
	others := hub(t, n, 5)
	for i, value := range []int{50, 10, 40, 20, 30} {
		if err := n.Tag(others[i].ID(), "value", value); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Protect(others[1].ID(), "mine"); err != nil {
		t.Fatal(err)
	}
	left := func() string {
		var there []int
		for i, o := range others {
			if known(n, o).Connected {
				there = append(there, i)
			}
		}
		return fmt.Sprint(there)
	}
	for _, step := range []struct {
		left, closed int
		there        string
	}{{5, 0, "[0 1 2 3 4]"}, {3, 2, "[0 1 2]"}, {2, 1, "[0 1]"}, {0, 1, "[1]"}, {0, 0, "[1]"}} {
		closed, err := n.Trim(timeout(t), step.left)
		if err != nil || closed != step.closed {
			t.Fatalf("trim to %d: %d closed, %v", step.left, closed, err)
		}
		until(t, "of "+left()+" there are "+step.there, func() bool { return left() == step.there })
	}
	_, err := n.Trim(timeout(t), -2)
	mustMatch(t, err, core.ErrInvalid, "-2")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = n.Trim(ended, 0)
	mustMatch(t, err, core.ErrCancelled)
}

func TestTrimSparesTheYoung(t *testing.T) {
	n := start(t)
	hub(t, n, 3)
	if closed, err := n.Trim(timeout(t), 0); err != nil || closed != 0 {
		t.Fatalf("%d closed within their time of grace, %v", closed, err)
	}
}

func TestWatermarksAtRunTime(t *testing.T) {
	n := start(t)
	hub(t, n, 6)
	for _, bad := range [][3]int{{-2, 0, 0}, {0, 2_000_000, 0}, {0, 0, -5}, {5, 4, 0}, {200, -1, 0}} {
		mustMatch(t, n.SetWatermarks(bad[0], bad[1], bad[2]), core.ErrInvalid)
	}
	if err := n.SetWatermarks(2, 4, 0); err != nil {
		t.Fatal(err)
	}
	until(t, "trimmed to the low watermark", func() bool { return len(n.Peers()) == 2 })
	if err := n.SetWatermarks(-1, 5, -1); err != nil {
		t.Fatal(err)
	}
	if got := limits(t, n).Watermarks; got != (core.ConnectionsConfig{Low: 2, High: 5, GraceMs: 0}) {
		t.Fatalf("%+v", got)
	}
}

func limits(t *testing.T, n *core.Node) core.LimitsInfo {
	t.Helper()
	info, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	return info.(core.LimitsInfo)
}
