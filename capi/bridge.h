/* What the Go side sees of the C side. */
#ifndef P2PGO_BRIDGE_H
#define P2PGO_BRIDGE_H

#include <stdlib.h>

#include "error.h"
#include "front.h"
#include "libp2p.h"
#include "queue.h"

#endif
