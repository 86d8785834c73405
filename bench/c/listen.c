/* The listening end: one thread polls the queue, one thread per stream reads and writes it in blocking calls. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

enum { STREAMS = 1, REQUESTS, MESSAGES, ANSWERS };

/* How long nothing may arrive before the rest of the messages counts as lost. */
#define QUIET 3.0

static p2p_handle queue;
static struct {
    pthread_mutex_t mutex;
    int64_t received; /* guarded by mutex, as the times */
    double first, last;
} messages = { .mutex = PTHREAD_MUTEX_INITIALIZER };

struct inbound {
    p2p_handle stream;
    char protocol[64];
};

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static void bulk(p2p_handle stream)
{
    static const p2p_call for_ever = { sizeof for_ever, -1, 0, 0 };
    uint8_t buffer[65536], answer[8];
    uint64_t total = 0;
    int64_t n;

    while ((n = p2p_stream_read(stream, buffer, sizeof buffer, &for_ever)) > 0)
        total += (uint64_t)n;
    if (n < 0)
        return;
    put_u64(answer, total);
    p2p_stream_write(stream, answer, sizeof answer, NULL);
}

static void echo(p2p_handle stream)
{
    uint8_t buffer[65536];
    int64_t n;

    while ((n = p2p_stream_read(stream, buffer, sizeof buffer, NULL)) > 0)
        if (p2p_stream_write(stream, buffer, (size_t)n, NULL) < 0)
            return;
}

static void answer_count(p2p_handle stream)
{
    uint8_t question[8];
    char answer[128];
    int64_t expected = 0, received;
    size_t got = 0;
    double asked = now(), last, span;

    while (got < sizeof question) {
        int64_t n = p2p_stream_read(stream, question + got, sizeof question - got, NULL);

        if (n <= 0)
            return;
        got += (size_t)n;
    }
    for (int i = 0; i < 8; i++)
        expected = expected << 8 | question[i];
    for (;;) {
        static const struct timespec pause = { 0, 5000000 };

        pthread_mutex_lock(&messages.mutex);
        received = messages.received;
        span = messages.last - messages.first;
        last = messages.last > asked ? messages.last : asked;
        pthread_mutex_unlock(&messages.mutex);
        if (received >= expected || now() - last > QUIET)
            break;
        nanosleep(&pause, NULL);
    }
    snprintf(answer, sizeof answer, "{\"received\":%lld,\"seconds\":%.9f}", (long long)received, span);
    p2p_stream_write(stream, (const uint8_t *)answer, strlen(answer), NULL);
}

static void *serve_stream(void *argument)
{
    struct inbound *in = argument;

    if (strcmp(in->protocol, BULK) == 0)
        bulk(in->stream);
    else if (strcmp(in->protocol, ECHO) == 0)
        echo(in->stream);
    else
        answer_count(in->stream);
    p2p_close(in->stream);
    free(in);
    return NULL;
}

static void on_stream(const p2p_event *event, const char *text)
{
    struct inbound *in = calloc(1, sizeof *in);
    const char *protocol = strchr(text, '\n');
    pthread_t thread;

    if (in == NULL || protocol == NULL)
        abort();
    in->stream = event->object;
    snprintf(in->protocol, sizeof in->protocol, "%s", protocol + 1);
    if (pthread_create(&thread, NULL, serve_stream, in) != 0)
        abort();
    pthread_detach(thread);
}

static void on_messages(int64_t count)
{
    double time = now();

    pthread_mutex_lock(&messages.mutex);
    if (messages.received == 0)
        messages.first = time;
    messages.received += count;
    messages.last = time;
    pthread_mutex_unlock(&messages.mutex);
}

static void *poll_queue(void *unused)
{
    enum { EVENTS = 256, DATA = 256 << 10 };
    static p2p_event events[EVENTS];
    static uint8_t data[DATA];
    p2p_call respond = { sizeof respond, -1, queue, ANSWERS };
    int n;

    (void)unused;
    while ((n = p2p_queue_poll(queue, events, EVENTS, data, DATA, -1)) >= 0) {
        int64_t arrived = 0;

        for (int i = 0; i < n; i++) {
            const p2p_event *event = &events[i];

            if (event->type == P2P_EVENT_STREAM)
                on_stream(event, (const char *)data + event->text_offset);
            else if (event->type == P2P_EVENT_REQUEST)
                p2p_request_respond(event->object, data + event->data_offset, event->data_length, 0, &respond);
            else if (event->type == P2P_EVENT_MESSAGE)
                arrived++;
        }
        if (arrived > 0)
            on_messages(arrived);
    }
    return NULL;
}

void listen_until_eof(p2p_handle node, const struct options *o)
{
    p2p_handle streams, requests, topic, subscription;
    pthread_t poller;
    char *addresses, byte;

    need(p2p_queue_new(0, &queue), "queue");
    need(p2p_stream_serve(node, BULK "\n" ECHO "\n" COUNT, NULL, queue, STREAMS, &streams), "serve");
    need(p2p_request_serve(node, REQUEST, NULL, queue, REQUESTS, &requests), "serve requests");
    if (strcmp(o->scenario, "pubsub") == 0) {
        need(p2p_topic_join(node, TOPIC, NULL, 0, 0, &topic), "join");
        need(p2p_topic_subscribe(topic, NULL, queue, MESSAGES, &subscription), "subscribe");
    }
    if (pthread_create(&poller, NULL, poll_queue, NULL) != 0)
        abort();
    need(p2p_node_addresses(node, &addresses), "addresses");
    addresses[strcspn(addresses, "\n")] = '\0';
    printf("{\"address\":\"%s\"}\n", addresses);
    fflush(stdout);
    p2p_free(addresses);
    while (fread(&byte, 1, 1, stdin) == 1)
        ;
    p2p_close(queue);
    pthread_join(poller, NULL);
}
