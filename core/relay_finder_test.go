package core

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The search does not wait for the rest of a relay that the program has reserved with itself: nothing would end it.
func TestRelaySearchPausesBesideTheProgramsReservation(t *testing.T) {
	r := relays{held: map[*Reservation]struct{}{}, rests: map[peer.ID]relayRest{"relay": {until: time.Now()}}}
	named := []peer.AddrInfo{{ID: "relay"}}
	if pause := r.untilRested(named); pause > time.Second {
		t.Fatalf("the relay may be asked, and the search pauses for %v", pause)
	}
	r.held[&Reservation{relay: "relay"}] = struct{}{}
	if pause := r.untilRested(named); pause < time.Hour {
		t.Fatalf("the search pauses for %v", pause)
	}
}
