/* A queue of events between the Go side, which pushes, and one polling host thread. It lives in C, so that polling never enters Go. */
#ifndef P2PGO_QUEUE_H
#define P2PGO_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "libp2p.h"

struct queue;  /* reference counted; the handle holds one reference */
struct event;  /* one record with its text and data, not yet queued */
struct source; /* a producer that can be held back */

/* queue_acquire returns the open queue of a handle with a reference for queue_release, or NULL with *code and the thread's error set. */
struct queue *queue_acquire(p2p_handle handle, int *code);
void queue_release(struct queue *q);

/* queue_close ends the queue of a handle: wakes the poller, ends the fd's readers, and writes the handles carried by events that nobody
 * fetched to *orphans (free it) for the caller to close. Returns 0, or P2P_E_HANDLE for a number that never was a queue. */
int queue_close(p2p_handle handle, p2p_handle **orphans, size_t *orphans_len);

int64_t queue_live(void);
int queue_info(p2p_handle handle, char **json_out);

/* What all queues of the process hold, and what ever went into one. */
struct queue_sums {
    int64_t queues, events, bytes, pushed, waiting;
};
void queue_sums(struct queue_sums *sums);

/* event_new returns a record with room for text and data, NULL without memory. event_data is where the data goes, before the push. */
struct event *event_new(const p2p_event *fields, const char *text, size_t text_len, size_t data_len);
uint8_t *event_data(struct event *e);
/* event_shrink sets a smaller data length than was asked for, and returns the event, which may have moved. */
struct event *event_shrink(struct event *e, size_t data_len);
void event_free(struct event *e);

/* queue_push adds e, always, also beyond the queue's size: for completions, and for what is bounded elsewhere. It takes e over in every
 * case; P2P_E_CLOSED: the queue is closed. */
int queue_push(struct queue *q, struct event *e);

/* source_new makes a producer whose events in q are limited to events and bytes (0: only by the size of the queue). It takes a reference. */
struct source *source_new(struct queue *q, int64_t events, int64_t bytes);
void source_free(struct source *s);

/* source_push adds e as queue_push does, and returns 1 when the producer should wait for source_ready before it pushes again, else 0. */
int source_push(struct source *s, struct event *e);

/* queue_emit and source_emit make an event of copies and push it; P2P_E_NOMEM if there is no memory. */
int queue_emit(struct queue *q, const p2p_event *fields, const char *text, size_t text_len, const uint8_t *data, size_t data_len);
int source_emit(struct source *s, const p2p_event *fields, const char *text, size_t text_len, const uint8_t *data, size_t data_len);

/* source_ready tells whether the producer may push; if not, the room fd is rung when it should ask again. */
int source_ready(struct source *s);

/* queue_room_fd returns the read end of the pipe that is rung when a producer somewhere may push again; -1 without descriptors. */
int queue_room_fd(void);

#endif
