/* The dialling end: blocking calls, except for requests in flight, which one thread keeps going through a queue. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static uint8_t *block_of(size_t size)
{
    uint8_t *block = calloc(1, size ? size : 1);

    if (block == NULL)
        abort();
    return block;
}

static double *times_of(int count)
{
    return (double *)(void *)block_of((size_t)count * sizeof(double));
}

static p2p_handle open_stream(p2p_handle node, const char *peer, const char *protocol)
{
    p2p_handle stream;

    need(p2p_stream_open(node, peer, protocol, NULL, &stream, NULL), protocol);
    return stream;
}

static void read_all(p2p_handle stream, uint8_t *data, size_t size)
{
    for (size_t got = 0; got < size;) {
        int64_t n = need(p2p_stream_read(stream, data + got, size - got, NULL), "read");

        if (n == 0) {
            fprintf(stderr, "bench: the stream ended early\n");
            exit(1);
        }
        got += (size_t)n;
    }
}

static void bulk(p2p_handle node, const char *peer, const struct options *o)
{
    uint8_t *block = block_of(o->size), answer[8];
    p2p_handle stream = open_stream(node, peer, BULK);
    double start = now(), end = start + o->seconds;
    uint64_t received = 0;

    for (int64_t sent = 0; sent < o->bytes && now() < end; sent += (int64_t)o->size)
        need(p2p_stream_write(stream, block, o->size, NULL), "write");
    need(p2p_stream_close_write(stream, NULL), "close write");
    read_all(stream, answer, sizeof answer);
    for (int i = 0; i < 8; i++)
        received = received << 8 | answer[i];
    printf("{\"bytes\":%llu,\"seconds\":%.9f}\n", (unsigned long long)received, now() - start);
    free(block);
}

static void roundtrip(p2p_handle node, const char *peer, const struct options *o)
{
    uint8_t *message = block_of(o->size);
    double *times = times_of(o->count), end, p50, p99;
    p2p_handle stream = open_stream(node, peer, ECHO);
    int n;

    end = now() + o->seconds;
    for (n = 0; n < o->count && now() < end; n++) {
        double before = now();

        need(p2p_stream_write(stream, message, o->size, NULL), "write");
        read_all(stream, message, o->size);
        times[n] = now() - before;
    }
    percentiles(times, n, &p50, &p99);
    printf("{\"count\":%d,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", n, p50, p99);
    free(message);
    free(times);
}

static void ask(p2p_handle node, const char *peer, const uint8_t *question, size_t size)
{
    uint8_t *answer;
    size_t length;

    need(p2p_request_send(node, peer, REQUEST, question, size, NULL, &answer, &length, NULL), "request");
    p2p_free(answer);
    if (length != size) {
        fprintf(stderr, "bench: an answer of %zu bytes\n", length);
        exit(1);
    }
}

static int ask_in_turn(p2p_handle node, const char *peer, const struct options *o, const uint8_t *question, double *times)
{
    double end = now() + o->seconds;
    int n;

    for (n = 0; n < o->count && now() < end; n++) {
        double before = now();

        ask(node, peer, question, o->size);
        times[n] = now() - before;
    }
    return n;
}

/* The tag of a question is its number, so that its completion finds the time it was asked. */
static int ask_in_flight(p2p_handle node, const char *peer, const struct options *o, const uint8_t *question, double *times)
{
    enum { EVENTS = 64, DATA = 64 << 10 };
    static p2p_event events[EVENTS];
    static uint8_t data[DATA];
    p2p_call call = { sizeof call, 0, 0, 0 };
    double end = now() + o->seconds;
    int asked = 0, answered = 0, stopped = 0;

    need(p2p_queue_new(0, &call.queue), "queue");
    while (answered < asked || !stopped) {
        int n;

        while (asked - answered < o->inflight && !stopped) {
            call.tag = (uint64_t)asked;
            times[asked] = now();
            need(p2p_request_send(node, peer, REQUEST, question, o->size, NULL, NULL, NULL, &call), "request");
            stopped = ++asked == o->count || now() > end;
        }
        n = (int)need(p2p_queue_poll(call.queue, events, EVENTS, data, DATA, -1), "poll");
        for (int i = 0; i < n; i++) {
            if (events[i].status < 0 || events[i].data_length != o->size) {
                fprintf(stderr, "bench: request: %s\n", (const char *)data + events[i].text_offset);
                exit(1);
            }
            times[events[i].tag] = now() - times[events[i].tag];
        }
        answered += n;
    }
    p2p_close(call.queue);
    return answered;
}

static void request(p2p_handle node, const char *peer, const struct options *o)
{
    uint8_t *question = block_of(o->size);
    double *times = times_of(o->count), start, seconds, p50, p99;
    int n;

    ask(node, peer, question, o->size); /* identify and warm-up are not measured */
    start = now();
    n = (o->inflight == 1 ? ask_in_turn : ask_in_flight)(node, peer, o, question, times);
    seconds = now() - start;
    percentiles(times, n, &p50, &p99);
    printf("{\"count\":%d,\"seconds\":%.9f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", n, seconds, p50, p99);
    free(question);
    free(times);
}

/* Hands the messages over without waiting for each: the library publishes them in this order, and many of them at a time. */
static void publish_ahead(p2p_handle topic, uint8_t *message, const struct options *o)
{
    enum { AHEAD = 256 };
    static p2p_event events[AHEAD];
    static uint8_t data[64 << 10];
    p2p_call call = { sizeof call, 0, 0, 0 };
    int sent = 1, done = 1;

    need(p2p_queue_new(0, &call.queue), "queue");
    while (done < o->count) {
        int n;

        for (; sent < o->count && sent - done < AHEAD; sent++) {
            memcpy(message, &sent, sizeof sent);
            need(p2p_topic_publish(topic, message, o->size, 0, &call), "publish");
        }
        n = (int)need(p2p_queue_poll(call.queue, events, AHEAD, data, sizeof data, -1), "poll");
        for (int i = 0; i < n; i++)
            if (events[i].status < 0) {
                fprintf(stderr, "bench: publish: %s\n", (const char *)data + events[i].text_offset);
                exit(1);
            }
        done += n;
    }
    p2p_close(call.queue);
}

static void publish(p2p_handle node, const char *peer, const struct options *o)
{
    uint8_t *message = block_of(o->size < 8 ? 8 : o->size), question[8];
    char answer[256];
    p2p_handle topic, stream;
    double start, published;
    size_t got = 0;
    int64_t n;

    need(p2p_topic_join(node, TOPIC, NULL, 0, 0, &topic), "join");
    need(p2p_topic_publish(topic, message, o->size, 1, NULL), "publish"); /* this one waits for the subscriber */
    start = now();
    publish_ahead(topic, message, o);
    published = now() - start;
    stream = open_stream(node, peer, COUNT);
    for (int i = 0; i < 8; i++)
        question[i] = (uint8_t)((uint64_t)o->count >> (56 - 8 * i));
    need(p2p_stream_write(stream, question, sizeof question, NULL), "write");
    while ((n = need(p2p_stream_read(stream, (uint8_t *)answer + got, sizeof answer - 1 - got, NULL), "count")) > 0)
        got += (size_t)n;
    answer[got] = '\0';
    if (got < 2) {
        fprintf(stderr, "bench: the listener did not count\n");
        exit(1);
    }
    printf("{\"sent\":%d,\"publish_seconds\":%.9f,%s\n", o->count, published, answer + 1); /* its members follow ours */
    free(message);
}

void dial(p2p_handle node, const char *peer, const struct options *o)
{
    if (strcmp(o->scenario, "bulk") == 0)
        bulk(node, peer, o);
    else if (strcmp(o->scenario, "roundtrip") == 0)
        roundtrip(node, peer, o);
    else if (strcmp(o->scenario, "request") == 0)
        request(node, peer, o);
    else if (strcmp(o->scenario, "pubsub") == 0)
        publish(node, peer, o);
    else {
        fprintf(stderr, "bench: unknown scenario %s\n", o->scenario);
        exit(2);
    }
}
