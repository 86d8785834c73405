package core

import (
	"log/slog"
	_ "unsafe" // for go:linkname

	_ "github.com/libp2p/go-libp2p/p2p/canonicallog" // whose variable is meant below
)

// canonicalLog is a logger of go-libp2p that is made for stderr when its package is loaded, before anybody can have a say, and kept in a variable
// that is not exported: it tells of misbehaving peers, and of one connection in a hundred, at levels that GOLOG_LOG_LEVEL in the environment may
// well allow.
//
//go:linkname canonicalLog github.com/libp2p/go-libp2p/p2p/canonicallog.log
var canonicalLog *slog.Logger

func captureCanonical() { canonicalLog = newLogger("canonical-log") }
