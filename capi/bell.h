/* A bell: level-triggered readiness on a pipe, without lost wake-ups. nng's pollable and ZeroMQ's ZMQ_FD are the good and the bad example.
 * It is raised once on empty -> non-empty and lowered by a poll that left nothing; a byte that the host's loop ate costs nothing. The
 * caller's lock guards all of it. */
#ifndef P2PGO_BELL_H
#define P2PGO_BELL_H

struct bell {
    int raised;
    int pipe[2]; /* -1: nobody asked for an fd yet */
};

void bell_init(struct bell *b);

/* bell_raise returns 1 when the bell was not raised before. */
int bell_raise(struct bell *b);
void bell_lower(struct bell *b);

/* bell_fd returns a new descriptor of the read end, close-on-exec, or -1 with errno. */
int bell_fd(struct bell *b);

/* bell_end closes the pipe; whoever reads a descriptor of it gets an end of file. */
void bell_end(struct bell *b);

#endif
