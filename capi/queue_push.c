/* The producers' side of a queue: events, pushing, and sources that can be held back. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue_impl.h"

struct event *event_new(const p2p_event *fields, const char *text, size_t text_len, size_t data_len)
{
    size_t size = sizeof(struct event) + text_len + 1 + data_len;
    struct event *e = malloc(size);

    if (!e)
        return NULL;
    e->next = NULL;
    e->source = NULL;
    e->cost = size;
    e->fields = *fields;
    e->fields.text_length = (uint32_t)text_len;
    e->fields.data_length = (uint32_t)data_len;
    if (text_len > 0)
        memcpy(e->bytes, text, text_len);
    e->bytes[text_len] = '\0';
    return e;
}

uint8_t *event_data(struct event *e)
{
    return e->bytes + e->fields.text_length + 1;
}

struct event *event_shrink(struct event *e, size_t data_len)
{
    size_t size = sizeof(struct event) + e->fields.text_length + 1 + data_len;
    struct event *smaller = e;

    if (size < e->cost / 4 * 3 && (smaller = realloc(e, size)) != NULL)
        e = smaller;
    e->cost = size;
    e->fields.data_length = (uint32_t)data_len;
    return e;
}

void event_free(struct event *e)
{
    free(e);
}

static void append_locked(struct queue *q, struct event *e)
{
    *q->tail = e;
    q->tail = &e->next;
    q->bytes += e->cost;
    q->events++;
    q->pushed++;
    if (bell_raise(&q->bell))
        pthread_cond_signal(&q->cond);
}

int queue_push(struct queue *q, struct event *e)
{
    pthread_mutex_lock(&q->mutex);
    if (q->closed) {
        pthread_mutex_unlock(&q->mutex);
        event_free(e);
        return P2P_E_CLOSED;
    }
    append_locked(q, e);
    pthread_mutex_unlock(&q->mutex);
    return 0;
}

/* ---- sources ---- */

struct source *source_new(struct queue *q, int64_t events, int64_t bytes)
{
    struct source *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->queue = q;
    s->max_events = events;
    s->max_bytes = bytes;
    s->refs = 1;
    queue_retain(q);
    return s;
}

static void unref_locked(struct source *s)
{
    if (--s->refs == 0)
        free(s);
}

void source_free(struct source *s)
{
    struct queue *q = s->queue;

    pthread_mutex_lock(&q->mutex);
    if (s->waiting) {
        s->waiting = 0;
        q->waiting--;
    }
    unref_locked(s);
    pthread_mutex_unlock(&q->mutex);
    queue_release(q);
}

static int full_locked(const struct source *s)
{
    return (s->max_events > 0 && s->events >= s->max_events) || (s->max_bytes > 0 && s->bytes >= s->max_bytes) ||
           s->queue->bytes >= s->queue->max_bytes;
}

/* A producer starts again when half of its room is free, so that it is not woken for every single event. */
static int low_locked(const struct source *s)
{
    return (s->max_events == 0 || s->events <= s->max_events / 2) && (s->max_bytes == 0 || s->bytes <= s->max_bytes / 2) &&
           s->queue->bytes <= s->queue->max_bytes / 2;
}

int source_push(struct source *s, struct event *e)
{
    struct queue *q = s->queue;
    int full;

    pthread_mutex_lock(&q->mutex);
    if (q->closed) {
        pthread_mutex_unlock(&q->mutex);
        event_free(e);
        return P2P_E_CLOSED;
    }
    e->source = s;
    s->refs++;
    s->events++;
    s->bytes += (int64_t)e->cost;
    append_locked(q, e);
    full = full_locked(s);
    pthread_mutex_unlock(&q->mutex);
    return full;
}

int source_ready(struct source *s)
{
    struct queue *q = s->queue;
    int ready;

    pthread_mutex_lock(&q->mutex);
    ready = q->closed || (s->waiting ? low_locked(s) : !full_locked(s));
    if (ready == s->waiting) {
        s->waiting = !ready;
        q->waiting += ready ? -1 : 1;
    }
    pthread_mutex_unlock(&q->mutex);
    return ready;
}

static struct event *event_copy(const p2p_event *fields, const char *text, size_t text_len, const uint8_t *data, size_t data_len)
{
    struct event *e = event_new(fields, text, text_len, data_len);

    if (e && data_len > 0)
        memcpy(event_data(e), data, data_len);
    return e;
}

int queue_emit(struct queue *q, const p2p_event *fields, const char *text, size_t text_len, const uint8_t *data, size_t data_len)
{
    struct event *e = event_copy(fields, text, text_len, data, data_len);

    return e ? queue_push(q, e) : P2P_E_NOMEM;
}

int source_emit(struct source *s, const p2p_event *fields, const char *text, size_t text_len, const uint8_t *data, size_t data_len)
{
    struct event *e = event_copy(fields, text, text_len, data, data_len);

    return e ? source_push(s, e) : P2P_E_NOMEM;
}

int queue_taken_locked(struct queue *q, struct event *e)
{
    struct source *s = e->source;
    int ring;

    /* Sources that wait for the queue as a whole have nothing of their own in it that could wake them. */
    ring = q->waiting > 0 && q->bytes > q->max_bytes / 2 && q->bytes - e->cost <= q->max_bytes / 2;
    q->bytes -= e->cost;
    q->events--;
    if (s) {
        s->events--;
        s->bytes -= (int64_t)e->cost;
        ring |= s->waiting && low_locked(s);
        e->source = NULL;
        unref_locked(s);
    }
    return ring;
}

/* ---- the room bell: one pipe for all queues, read by one goroutine through Go's own poller, so that no thread waits ---- */

static pthread_mutex_t room_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct bell room; /* guarded by room_mutex */
static int room_made;    /* guarded by room_mutex */

int queue_room_fd(void)
{
    int fd;

    pthread_mutex_lock(&room_mutex);
    if (!room_made) {
        bell_init(&room);
        room_made = 1;
    }
    fd = bell_fd(&room);
    pthread_mutex_unlock(&room_mutex);
    return fd;
}

void room_ring(void)
{
    pthread_mutex_lock(&room_mutex);
    if (room_made) {
        room.raised = 0; /* the reader takes the bytes itself */
        bell_raise(&room);
    }
    pthread_mutex_unlock(&room_mutex);
}
