/* The consumer's side of a queue: the table of handles, polling, closing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"
#include "front.h"
#include "queue_impl.h"

#define DEFAULT_BYTES ((size_t)64 << 20)
#define BUCKETS 64U

static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct queue *table[BUCKETS];  /* guarded by table_mutex */
static uint64_t next_id = FIRST_ID;   /* guarded by table_mutex */
static int64_t live;                  /* guarded by table_mutex */
static int64_t pushed_before;         /* guarded by table_mutex; into queues that are closed */

static struct queue **table_slot(p2p_handle handle)
{
    struct queue **slot = &table[(handle >> 4) % BUCKETS];

    while (*slot && (*slot)->handle != handle)
        slot = &(*slot)->chain;
    return slot;
}

struct queue *queue_acquire(p2p_handle handle, int *code)
{
    struct queue *q;
    uint64_t issued;

    pthread_mutex_lock(&table_mutex);
    q = *table_slot(handle);
    if (q)
        q->refs++;
    issued = next_id;
    pthread_mutex_unlock(&table_mutex);
    if (q)
        return q;
    if ((handle & 15U) == P2P_KIND_QUEUE && handle >> 4 >= FIRST_ID && handle >> 4 < issued)
        *code = error_fmt(P2P_E_HANDLE, "queue %" PRIu64 " is closed", handle);
    else
        *code = front_kind(handle, P2P_KIND_QUEUE);
    return NULL;
}

void queue_retain(struct queue *q)
{
    pthread_mutex_lock(&table_mutex);
    q->refs++;
    pthread_mutex_unlock(&table_mutex);
}

void queue_release(struct queue *q)
{
    int refs;

    pthread_mutex_lock(&table_mutex);
    refs = --q->refs;
    pthread_mutex_unlock(&table_mutex);
    if (refs > 0)
        return;
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

int64_t queue_live(void)
{
    int64_t n;

    pthread_mutex_lock(&table_mutex);
    n = live;
    pthread_mutex_unlock(&table_mutex);
    return n;
}

void queue_sums(struct queue_sums *sums)
{
    struct queue *q;
    size_t i;

    *sums = (struct queue_sums){0};
    pthread_mutex_lock(&table_mutex);
    sums->queues = live;
    sums->pushed = pushed_before;
    for (i = 0; i < BUCKETS; i++)
        for (q = table[i]; q; q = q->chain) {
            pthread_mutex_lock(&q->mutex);
            sums->events += q->events;
            sums->bytes += (int64_t)q->bytes;
            sums->pushed += q->pushed;
            sums->waiting += q->waiting;
            pthread_mutex_unlock(&q->mutex);
        }
    pthread_mutex_unlock(&table_mutex);
}

/* An event that nobody will fetch may carry the only copy of a handle. */
static p2p_handle carried(const p2p_event *e)
{
    return e->type == P2P_EVENT_STREAM || e->type == P2P_EVENT_REQUEST || e->type == P2P_EVENT_DONE ? e->object : 0;
}

int queue_close(p2p_handle handle, p2p_handle **orphans, size_t *orphans_len)
{
    struct queue **slot, *q;
    struct event *e, *next;
    int was;

    *orphans = NULL;
    *orphans_len = 0;
    pthread_mutex_lock(&table_mutex);
    slot = table_slot(handle);
    if ((q = *slot) != NULL) {
        *slot = q->chain;
        live--;
        pthread_mutex_lock(&q->mutex);
        pushed_before += q->pushed;
        pthread_mutex_unlock(&q->mutex);
    }
    was = handle >> 4 >= FIRST_ID && handle >> 4 < next_id;
    pthread_mutex_unlock(&table_mutex);
    if (!q)
        return was ? 0 : front_kind(handle, P2P_KIND_QUEUE);

    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    e = q->head;
    q->head = NULL;
    q->tail = &q->head;
    *orphans = q->events > 0 ? malloc((size_t)q->events * sizeof **orphans) : NULL;
    for (; e; e = next) {
        next = e->next;
        queue_taken_locked(q, e);
        if (*orphans && carried(&e->fields))
            (*orphans)[(*orphans_len)++] = e->fields.object;
        event_free(e);
    }
    bell_end(&q->bell);
    pthread_cond_broadcast(&q->cond);
    pthread_mutex_unlock(&q->mutex);
    room_ring();
    queue_release(q);
    return 0;
}

int queue_info(p2p_handle handle, char **json_out)
{
    int code = 0;
    struct queue *q = queue_acquire(handle, &code);
    size_t size = 256;

    if (!q)
        return code;
    if ((*json_out = malloc(size)) != NULL) {
        pthread_mutex_lock(&q->mutex);
        snprintf(*json_out, size,
                 "{\"kind\":\"queue\",\"events\":%" PRId64 ",\"bytes\":%zu,\"max_bytes\":%zu,\"pushed\":%" PRId64 ",\"polled\":%" PRId64
                 ",\"sources_waiting\":%d}",
                 q->events, q->bytes, q->max_bytes, q->pushed, q->polled, q->waiting);
        pthread_mutex_unlock(&q->mutex);
    }
    queue_release(q);
    return *json_out ? 0 : error_fmt(P2P_E_NOMEM, "queue: out of memory");
}

/* ---- the public functions ---- */

int p2p_queue_new(size_t max_bytes, p2p_handle *queue_out)
{
    struct queue *q, **slot;
    pthread_condattr_t attr;

    CLEAR(queue_out);
    ENTER();
    NEED(queue_out);
    if ((q = calloc(1, sizeof *q)) == NULL)
        return error_fmt(P2P_E_NOMEM, "queue: out of memory");
    q->max_bytes = max_bytes > 0 ? max_bytes : DEFAULT_BYTES;
    q->tail = &q->head;
    q->refs = 1;
    bell_init(&q->bell);
    pthread_mutex_init(&q->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->cond, &attr);
    pthread_condattr_destroy(&attr);

    pthread_mutex_lock(&table_mutex);
    q->handle = next_id++ << 4 | P2P_KIND_QUEUE;
    slot = table_slot(q->handle);
    *slot = q;
    live++;
    pthread_mutex_unlock(&table_mutex);
    *queue_out = q->handle;
    return 0;
}

static struct timespec deadline_after(int32_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_nsec -= 1000000000L;
        t.tv_sec++;
    }
    return t;
}

static void wait_locked(struct queue *q, int32_t timeout_ms)
{
    struct timespec until;

    if (timeout_ms > 0)
        until = deadline_after(timeout_ms);
    bell_lower(&q->bell); /* nothing is here, so the next push must ring */
    while (!q->head && !q->woken && !q->closed) {
        if (timeout_ms < 0)
            pthread_cond_wait(&q->cond, &q->mutex);
        else if (pthread_cond_timedwait(&q->cond, &q->mutex, &until) == ETIMEDOUT)
            return;
    }
}

#define ALIGN(n) (((n) + 7U) & ~(size_t)7U) /* payloads start at multiples of 8, for typed views */

/* take_locked unlinks what fits, fills the caller's records and returns the events, whose bytes are copied without the lock. */
static struct event *take_locked(struct queue *q, p2p_event *events, int32_t max, size_t cap, int32_t *count, size_t *needed)
{
    struct event *first = q->head, **link = &q->head, *e;
    size_t used = 0;
    int ring = 0;

    for (*count = 0; *count < max && (e = *link) != NULL; (*count)++) {
        size_t text = e->fields.text_length ? used : 0, data, end = used;

        if (e->fields.text_length)
            end = used + e->fields.text_length + 1;
        data = e->fields.data_length ? ALIGN(end) : 0;
        if (e->fields.data_length)
            end = data + e->fields.data_length;
        if (end > cap) {
            *needed = end;
            break;
        }
        used = end;
        events[*count] = e->fields;
        events[*count].text_offset = (uint32_t)text;
        events[*count].data_offset = (uint32_t)data;
        ring |= queue_taken_locked(q, e);
        link = &e->next;
    }
    if (*count == 0)
        return NULL;
    q->head = *link;
    *link = NULL;
    if (!q->head)
        q->tail = &q->head;
    q->polled += *count;
    if (ring)
        room_ring();
    return first;
}

int p2p_queue_poll(p2p_handle queue, p2p_event *events, int32_t max, uint8_t *data, size_t cap, int32_t timeout_ms)
{
    int code = 0;
    int32_t count = 0;
    size_t needed = 0;
    struct queue *q;
    struct event *list, *next;

    ENTER();
    NEED(events);
    if (max <= 0)
        return error_fmt(P2P_E_INVALID, "max: %d records hold nothing", max);
    if (timeout_ms < -1)
        return error_fmt(P2P_E_INVALID, "timeout_ms: %" PRId32 " is neither a time nor -1", timeout_ms);
    if (cap > 0)
        NEED(data);
    if (cap > UINT32_MAX)
        cap = UINT32_MAX; /* offsets are 32 bits wide */
    if ((q = queue_acquire(queue, &code)) == NULL)
        return code;

    pthread_mutex_lock(&q->mutex);
    if (q->polling) {
        pthread_mutex_unlock(&q->mutex);
        queue_release(q);
        return error_fmt(P2P_E_BUSY, "queue %" PRIu64 " is being polled by another thread", queue);
    }
    if (!q->head && !q->woken && !q->closed && timeout_ms != 0) {
        q->polling = 1;
        wait_locked(q, timeout_ms);
        q->polling = 0;
    }
    list = take_locked(q, events, max, cap, &count, &needed);
    q->woken = 0;
    if (!q->head)
        bell_lower(&q->bell);
    code = q->closed ? P2P_E_CLOSED : 0;
    pthread_mutex_unlock(&q->mutex);

    for (int32_t i = 0; list; i++, list = next) {
        next = list->next;
        if (events[i].text_length)
            memcpy(data + events[i].text_offset, list->bytes, (size_t)events[i].text_length + 1);
        if (events[i].data_length)
            memcpy(data + events[i].data_offset, event_data(list), events[i].data_length);
        event_free(list);
    }
    queue_release(q);
    if (code < 0)
        return error_fmt(code, "queue %" PRIu64 " was closed", queue);
    if (count == 0 && needed > 0) {
        error_fmt(P2P_E_TOO_BIG, "data: %zu bytes, the next event needs %zu", cap, needed);
        return error_detail(P2P_E_TOO_BIG, (int64_t)needed);
    }
    return count;
}

int p2p_queue_fd(p2p_handle queue, int *fd_out)
{
    int code = 0;
    struct queue *q;

    if (fd_out)
        *fd_out = -1;
    ENTER();
    NEED(fd_out);
    if ((q = queue_acquire(queue, &code)) == NULL)
        return code;
    pthread_mutex_lock(&q->mutex);
    if (q->closed)
        code = error_fmt(P2P_E_CLOSED, "queue %" PRIu64 " was closed", queue);
    else if ((*fd_out = bell_fd(&q->bell)) < 0)
        code = error_fmt(P2P_E_SYSTEM, "queue %" PRIu64 ": no pipe: %s", queue, strerror(errno));
    pthread_mutex_unlock(&q->mutex);
    queue_release(q);
    return code;
}

int p2p_queue_wake(p2p_handle queue)
{
    int code = 0;
    struct queue *q;

    ENTER();
    if ((q = queue_acquire(queue, &code)) == NULL)
        return code;
    pthread_mutex_lock(&q->mutex);
    q->woken = 1;
    bell_raise(&q->bell);
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->mutex);
    queue_release(q);
    return 0;
}

int p2p_queue_post(p2p_handle queue, uint64_t tag, int64_t value, const uint8_t *data, size_t len)
{
    int code = 0;
    p2p_event fields = {.type = P2P_EVENT_POST, .tag = tag, .subject = queue, .value = value};
    struct event *e;
    struct queue *q;

    ENTER();
    NEED_BYTES(data, len);
    if ((q = queue_acquire(queue, &code)) == NULL)
        return code;
    pthread_mutex_lock(&q->mutex);
    if (q->bytes + len > q->max_bytes)
        code = error_fmt(P2P_E_AGAIN, "queue %" PRIu64 " holds %zu of %zu bytes", queue, q->bytes, q->max_bytes);
    pthread_mutex_unlock(&q->mutex);
    if (code == 0 && (e = event_new(&fields, NULL, 0, len)) == NULL)
        code = error_fmt(P2P_E_NOMEM, "queue: no memory for %zu bytes", len);
    if (code == 0) {
        if (len > 0)
            memcpy(event_data(e), data, len);
        if (queue_push(q, e) < 0)
            code = error_fmt(P2P_E_CLOSED, "queue %" PRIu64 " was closed", queue);
    }
    queue_release(q);
    return code;
}
