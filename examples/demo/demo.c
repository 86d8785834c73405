/* demo.c - one of three: meets a Python and a Node.js program, publishes and verifies messages, answers a question with a stream of
 * prime numbers and receives a file. README.md tells the whole story.
 *
 *   cc demo.c $(pkg-config --cflags --libs libp2pgo) -o demo
 *   ./demo ADDRESS MESSAGES FOLDER          ADDRESS: where the Python program listens
 *
 * After the introductions one queue brings everything, and one loop serves it. Lines that begin with @ are for the program that
 * started this one. */
#include <libp2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sha256.h"

#define NAME "c"
#define FRIENDS 2
#define CREDIT (4 << 20)
enum { NEWS = 1, QUESTIONS, FILES, FILE_DATA, DONE };

static p2p_handle node, queue, topic;
static struct friend {
    char name[16], id[128];
    int heard;     /* verified messages */
    uint64_t seen; /* bit i: message i came */
} friends[FRIENDS];
static int expected;  /* messages from each friend */
static int questions; /* answered */
static struct {
    p2p_handle stream;
    FILE *out;
    struct sha256 sha;
    uint8_t head[8];
    uint64_t size, got, told;
    size_t head_got, owed; /* owed: credit to be returned */
    int complete;
} file;
static struct timespec news_begin;

static void fail(const char *doing, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", doing, why);
    exit(1);
}

static int64_t check(int64_t result, const char *doing)
{
    if (result < 0) fail(doing, p2p_last_error());
    return result;
}

static double seconds_since(struct timespec t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t.tv_sec) + (double)(now.tv_nsec - t.tv_nsec) / 1e9;
}

static void start(void)
{
    p2p_handle config, service;
    check(p2p_config_new("{\"listen\": [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]}", &config), "config");
    check(p2p_node_new(config, 0, 0, &node, NULL), "node");
    p2p_close(config);
    check(p2p_queue_new(0, &queue), "queue");
    check(p2p_request_serve(node, "/demo/primes/1.0.0", NULL, queue, QUESTIONS, &service), "serve primes");
    check(p2p_stream_serve(node, "/demo/file/1.0.0", NULL, queue, FILES, &service), "serve files");
    check(p2p_topic_join(node, "demo/news", NULL, 0, 0, &topic), "join");
    check(p2p_topic_subscribe(topic, NULL, queue, NEWS, &service), "subscribe");
}

/* meet introduces us to the one peer whose address we were told, and connects to the others it tells us of as they come: each part of
 * its answer is a name and a peer id, then the peer's addresses, one per line. */
static char *meet(const char *address)
{
    char *host, *own, hello[4096];
    p2p_handle exchange;
    uint8_t *part;
    size_t len;
    int n = 0;
    check(p2p_peer_connect(node, address, &host, NULL), "connect");
    check(p2p_node_addresses(node, &own), "addresses");
    snprintf(hello, sizeof hello, NAME "\n%s", own);
    p2p_free(own);
    printf("connected to the one address that I was told\n");
    check(p2p_request_open(node, host, "/demo/meet/1.0.0", (uint8_t *)hello, strlen(hello), NULL, &exchange, NULL), "meet");
    while (check(p2p_request_next(exchange, &part, &len, NULL), "meet") > 0) {
        char text[4096] = "", *addresses;
        if (n == FRIENDS || len >= sizeof text) fail("meet", "more than was agreed");
        memcpy(text, part, len);
        p2p_free(part);
        addresses = strchr(text, '\n');
        if (addresses == NULL || sscanf(text, "%15s %127s", friends[n].name, friends[n].id) != 2) fail("meet", "an introduction that I cannot read");
        /* Of two who hear of each other at the same moment one calls, or they would meet on two connections. */
        if (strcmp(NAME, friends[n].name) < 0) check(p2p_peer_connect(node, addresses + 1, NULL, NULL), friends[n].name);
        printf("know %s now, %.8s...%s\n", friends[n].name, friends[n].id, friends[n].id + strlen(friends[n].id) - 6);
        n++;
    }
    p2p_close(exchange);
    if (n != FRIENDS) fail("meet", "not introduced to everybody");
    return host;
}

static void message_text(char *out, size_t cap, const char *name, int i)
{
    snprintf(out, cap, "%s says %d of %d", name, i + 1, expected);
}

static void publish(void)
{
    char text[64];
    for (int i = 0; i < expected; i++) {
        message_text(text, sizeof text, NAME, i);
        check(p2p_topic_publish(topic, (uint8_t *)text, strlen(text), FRIENDS, NULL), "publish");
    }
    printf("published %d signed messages\n", expected);
}

/* A message counts when its checked signature is that of the friend whom its words name, and it is the next one or any not seen yet. */
static void on_message(const p2p_event *e, const char *text, const uint8_t *data)
{
    char want[64];
    if (e->flags & P2P_FLAG_LOCAL) return;
    for (int f = 0; f < FRIENDS; f++) {
        struct friend *who = &friends[f];
        size_t n = strlen(who->id);
        if (strncmp(text, who->id, n) != 0 || text[n] != '\n') continue;
        if (!(e->flags & P2P_FLAG_SIGNED)) fail("news", "a message without a signature");
        for (int i = 0; i < expected; i++) {
            message_text(want, sizeof want, who->name, i);
            if (strlen(want) != e->data_length || memcmp(want, data, e->data_length) != 0 || who->seen >> i & 1) continue;
            who->seen |= (uint64_t)1 << i;
            if (++who->heard == expected) printf("heard all %d messages of %s, each signed by %s\n", expected, who->name, who->name);
            return;
        }
        fail("news", "words that nobody was to say");
    }
    fail("news", "a message of a stranger");
}

/* Each prime is a part of the answer. */
static void on_question(const p2p_event *e, const uint8_t *data)
{
    char text[16] = "";
    int limit = 0;
    if (e->data_length < sizeof text) limit = atoi(memcpy(text, data, e->data_length));
    if (limit < 2) {
        p2p_request_fail(e->object, 1, "primes up to what?");
        return;
    }
    for (int n = 2; n <= limit; n++) {
        int prime = 1;
        for (int d = 2; d * d <= n && prime; d++) prime = n % d != 0;
        if (!prime) continue;
        snprintf(text, sizeof text, "%d", n);
        check(p2p_request_respond(e->object, (uint8_t *)text, strlen(text), 1, NULL), "answer");
    }
    check(p2p_request_respond(e->object, NULL, 0, 0, NULL), "answer");
    questions++;
}

static void on_file(const p2p_event *e, const char *folder)
{
    char path[4096];
    if (file.out != NULL) {
        p2p_stream_reset(e->object, 1);
        p2p_close(e->object);
        return;
    }
    snprintf(path, sizeof path, "%s/file-of-c", folder);
    if ((file.out = fopen(path, "wb")) == NULL) fail(path, "cannot be written");
    sha256_start(&file.sha);
    file.stream = e->object;
    check(p2p_stream_watch(file.stream, queue, FILE_DATA, CREDIT, 0), "watch");
}

static void on_file_data(const uint8_t *data, size_t len)
{
    file.owed += len;
    for (; len > 0 && file.head_got < sizeof file.head; data++, len--) {
        file.head[file.head_got++] = *data;
        file.size = file.size << 8 | *data;
    }
    if (fwrite(data, 1, len, file.out) != len) fail("file", "cannot be written");
    sha256_add(&file.sha, data, len);
    file.got += len;
    if (file.owed >= CREDIT / 2) {
        p2p_stream_credit(file.stream, file.owed);
        file.owed = 0;
    }
    if (file.got - file.told > file.size / 100 || file.got == file.size) {
        printf("@progress python -> c\t%llu\t%llu\n", (unsigned long long)file.got, (unsigned long long)file.size);
        file.told = file.got;
    }
}

static void on_file_end(void)
{
    uint8_t digest[32];
    if (file.got != file.size || fclose(file.out) != 0) fail("file", "it ended early");
    sha256_end(&file.sha, digest);
    printf("@sha256 ");
    for (size_t i = 0; i < sizeof digest; i++) printf("%02x", digest[i]);
    printf("\nreceived the file from python\n");
    check(p2p_stream_write(file.stream, digest, sizeof digest, NULL), "answer");
    p2p_close(file.stream);
    file.complete = 1;
}

static void serve(const char *host, const char *folder)
{
    static p2p_event events[64];
    static uint8_t data[1 << 20];
    p2p_call call = { sizeof call, 120000, queue, DONE };
    int asked = 0;
    for (;;) {
        int n = (int)check(p2p_queue_poll(queue, events, 64, data, sizeof data, -1), "poll");
        for (int i = 0; i < n; i++) {
            const p2p_event *e = &events[i];
            const char *text = (const char *)data + e->text_offset;
            if (e->type == P2P_EVENT_MESSAGE) on_message(e, text, data + e->data_offset);
            else if (e->type == P2P_EVENT_REQUEST) on_question(e, data + e->data_offset);
            else if (e->type == P2P_EVENT_STREAM) on_file(e, folder);
            else if (e->type == P2P_EVENT_STREAM_DATA) on_file_data(data + e->data_offset, e->data_length);
            else if (e->type == P2P_EVENT_STREAM_END) on_file_end();
            else if (e->type == P2P_EVENT_STREAM_RESET) fail("file", text);
            else if (e->type == P2P_EVENT_DONE && e->status < 0) fail("the end", text);
            else if (e->type == P2P_EVENT_DONE) return;
        }
        if (!asked && file.complete && questions > 0 && friends[0].heard == expected && friends[1].heard == expected) {
            /* What was ours is done. The answer comes when everybody's is; until then we stay, for others may need us. */
            printf("@result %s\tsigned messages, author and words verified\t%d of %d\tin %.0f ms\n", NAME, friends[0].heard + friends[1].heard,
                   2 * expected, seconds_since(news_begin) * 1e3);
            check(p2p_request_send(node, host, "/demo/done/1.0.0", (const uint8_t *)NAME, 1, NULL, NULL, NULL, &call), "the end");
            asked = 1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || (expected = atoi(argv[2])) < 1 || expected > 64) {
        fprintf(stderr, "usage: demo ADDRESS MESSAGES FOLDER\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    start();
    char *host = meet(argv[1]);
    clock_gettime(CLOCK_MONOTONIC, &news_begin);
    publish();
    serve(host, argv[3]);
    p2p_free(host);
    p2p_close(node);
    p2p_close(queue);
    return 0;
}
