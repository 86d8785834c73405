package core_test

import (
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// Two nodes that dial each other in the same moment over TCP both connect. Without a second try more than half of the pairs fail, so of 16 hardly ever none does.
func TestDialsThatCross(t *testing.T) {
	for name, options := range map[string][2][]string{
		"tls":    {{"security", "tls"}, {"security", "tls"}},
		"noise":  {{"security", "noise"}, {"security", "noise"}},
		"mixed":  {{"security", `["noise","tls"]`}, {"security", `["tls","noise"]`}},
		"shared": {{"transports.share_tcp", "true"}, {"transports.share_tcp", "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 16 {
				a, b := start(t, options[0]...), start(t, options[1]...)
				addresses, failed := [2][]string{b.Addresses(), a.Addresses()}, make(chan error, 2)
				for i, n := range []*core.Node{a, b} {
					go func() {
						_, err := n.Connect(timeout(t), addresses[i])
						failed <- err
					}()
				}
				for range 2 {
					if err := <-failed; err != nil {
						t.Fatal(err)
					}
				}
				a.Close()
				b.Close()
			}
		})
	}
}
