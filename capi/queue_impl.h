/* The inside of a queue, shared by the files that push (queue_push.c) and that poll (queue.c). */
#ifndef P2PGO_QUEUE_IMPL_H
#define P2PGO_QUEUE_IMPL_H

#include <pthread.h>

#include "bell.h"
#include "queue.h"

struct event {
    struct event *next;
    struct source *source; /* referenced; NULL: none */
    size_t cost;
    p2p_event fields;
    unsigned char bytes[]; /* text, NUL, data */
};

struct source {
    struct queue *queue; /* referenced until source_free */
    int64_t max_events, max_bytes;
    /* guarded by queue->mutex */
    int64_t events, bytes; /* in the queue */
    int refs;              /* the owner and each queued event */
    int waiting;           /* the producer wants a ring */
};

struct queue {
    p2p_handle handle;
    struct queue *chain; /* guarded by the table's mutex */
    int refs;            /* guarded by the table's mutex */
    size_t max_bytes;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    /* guarded by mutex */
    struct event *head, **tail;
    size_t bytes;
    int64_t events, pushed, polled;
    int waiting; /* sources that want a ring */
    int woken, closed, polling;
    struct bell bell;
};

void queue_retain(struct queue *q);

/* queue_taken_locked settles the accounts of an event that was unlinked from q and returns 1 when its producer may push again. */
int queue_taken_locked(struct queue *q, struct event *e);

/* room_ring tells the producers that somewhere there is room. */
void room_ring(void);

#endif
