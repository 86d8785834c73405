/* The host process: is this a forked child, in which the Go runtime has no threads? */
#ifndef P2PGO_PROCESS_H
#define P2PGO_PROCESS_H

/* process_forked is 1 in a child made by fork without exec after the library was loaded. */
extern volatile int process_forked;

#endif
