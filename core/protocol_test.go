package core_test

import (
	"strings"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// A name that no peer can speak is told before anybody is dialled.
func TestBadProtocolNamesAreRefused(t *testing.T) {
	n, other := start(t), start(t)
	for _, name := range []string{"", "/a\n/b", strings.Repeat("x", 513)} {
		_, err := n.OpenStream(timeout(t), other.ID(), []string{name}, core.OpenOptions{})
		mustMatch(t, err, core.ErrInvalid, "protocol")
		_, err = n.Request(timeout(t), other.ID(), name, nil, core.RequestOptions{MaxResponse: 1})
		mustMatch(t, err, core.ErrInvalid, "protocol")
	}
}
