package core

import (
	_ "unsafe" // for go:linkname

	_ "github.com/libp2p/go-libp2p-kad-dht/records" // whose variable is meant below
)

// providerBatch is how many providers upstream gathers before it stores them. There is no option for it, and it stores them at no other time but when
// it is closed: with its 256 a small network's would not be on disk for days, and lost with a process that is killed. It is also how many expired ones
// are deleted at a time. Both are cheap: nobody waits for the disk itself, see openDHTStore.
//
//go:linkname providerBatch github.com/libp2p/go-libp2p-kad-dht/records.batchBufferSize
var providerBatch int

func init() { providerBatch = 1 }
