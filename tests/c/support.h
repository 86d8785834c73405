/* support.h - what most tests of the suite need: nodes on loopback, pairs that are connected, events that are waited for. */
#ifndef SUPPORT_H
#define SUPPORT_H

#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <libp2p.h>
#include <sys/socket.h>

#include "harness.h"

#define TCP "/ip4/127.0.0.1/tcp/0"
#define QUIC "/ip4/127.0.0.1/udp/0/quic-v1"
/* A peer id that belongs to nobody, and an address at which nobody answers. */
#define NOBODY "12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh"
#define NOWHERE "/ip4/127.0.0.1/tcp/1/p2p/" NOBODY

/* GOOD(p2p_x(...)): the result, which must not be an error; the library's words say why it is one. */
#define GOOD(call)                                                                          \
    ({                                                                                      \
        const int64_t result_ = (int64_t)(call);                                            \
        if (result_ < 0) FAIL("%s: %s: %s", #call, p2p_error_name((int)result_), p2p_last_error()); \
        result_;                                                                            \
    })

/* ERROR(p2p_x(...), P2P_E_CODE): it must fail with this code, and with words. */
#define ERROR(call, code)                                                                   \
    do {                                                                                    \
        const int64_t result_ = (int64_t)(call);                                            \
        if (result_ != (code)) FAIL("%s: %lld (%s), not " #code ": %s", #call, (long long)result_, p2p_error_name((int)result_), p2p_last_error()); \
        if (!*p2p_last_error()) FAIL("%s: no words", #call);                                \
    } while (0)

/* TEST_OVER(subject__fact) { ... uses `over` ... } is one test per transport. */
#define TEST_OVER(name)                                                                     \
    static void name(const char *over);                                                     \
    TEST(name##__tcp) { name(TCP); }                                                        \
    TEST(name##__quic) { name(QUIC); }                                                      \
    static void name(const char *over)

/* One event, with its text and data copied out. */
struct taken {
    p2p_event event;
    char text[4096];
    size_t len;
    uint8_t data[72 * 1024];
};

struct pair {
    p2p_handle a, b;
    char a_id[128], b_id[128], b_address[256];
};

static int64_t handles_before; /* when the test began */

static inline p2p_call within(int32_t timeout_ms) { return (p2p_call){.size = sizeof(p2p_call), .timeout_ms = timeout_ms}; }

static inline p2p_call on(p2p_handle queue, uint64_t tag)
{
    return (p2p_call){.size = sizeof(p2p_call), .timeout_ms = limit_ms(), .queue = queue, .tag = tag};
}

static inline p2p_handle new_queue(void)
{
    p2p_handle queue;
    GOOD(p2p_queue_new(0, &queue));
    return queue;
}

/* A node that listens at `listen` (NULL: nowhere); options: more of the JSON document, without its braces, or NULL. */
static inline p2p_handle new_node_on(p2p_handle queue, const char *listen, const char *options)
{
    p2p_handle config, node;
    char json[2048];
    snprintf(json, sizeof json, "{\"listen\": [%s%s%s]%s%s}", listen ? "\"" : "", listen ? listen : "", listen ? "\"" : "", options ? ", " : "",
             options ? options : "");
    GOOD(p2p_config_new(json, &config));
    GOOD(p2p_node_new(config, queue, 0, &node, NULL));
    GOOD(p2p_close(config));
    return node;
}

static inline p2p_handle new_node(const char *listen, const char *options) { return new_node_on(0, listen, options); }

static inline void copy_id(p2p_handle node, char id[128])
{
    char *text;
    GOOD(p2p_node_id(node, &text));
    snprintf(id, 128, "%s", text);
    p2p_free(text);
}

static inline void first_address(p2p_handle node, char address[256])
{
    char *text;
    GOOD(p2p_node_addresses(node, &text));
    snprintf(address, 256, "%.*s", (int)strcspn(text, "\n"), text);
    p2p_free(text);
}

/* Two nodes, b listening, a connected to b. */
static inline struct pair new_pair_with(const char *over, const char *options)
{
    struct pair pair = {.a = new_node(NULL, options), .b = new_node(over, options)};
    char *peer;
    copy_id(pair.a, pair.a_id);
    copy_id(pair.b, pair.b_id);
    first_address(pair.b, pair.b_address);
    GOOD(p2p_peer_connect(pair.a, pair.b_address, &peer, NULL));
    EQUAL_TEXT(peer, pair.b_id);
    p2p_free(peer);
    return pair;
}

static inline struct pair new_pair(const char *over) { return new_pair_with(over, NULL); }

static inline void close_pair(struct pair *pair)
{
    GOOD(p2p_close(pair->a));
    GOOD(p2p_close(pair->b));
}

/* Events that a wait passed over, for a later wait: completions and events of two threads come in either order. */
static struct passed {
    p2p_handle queue;
    struct taken *taken;
} passed[64];
static int passed_count;

static inline void take_passed(int index, struct taken *taken)
{
    *taken = *passed[index].taken;
    free(passed[index].taken);
    memmove(&passed[index], &passed[index + 1], (size_t)(--passed_count - index) * sizeof *passed);
}

static inline void pass_over(p2p_handle queue, const struct taken *taken)
{
    static struct taken forgotten;
    if (passed_count == sizeof passed / sizeof *passed) take_passed(0, &forgotten);
    struct taken *copy = malloc(sizeof *copy);
    *copy = *taken;
    passed[passed_count++] = (struct passed){queue, copy};
}

static inline int poll_event(p2p_handle queue, int ms, struct taken *taken)
{
    const size_t size = sizeof taken->data + sizeof taken->text;
    uint8_t *block = malloc(size); /* thread-local storage would count against small stacks */
    const int64_t n = p2p_queue_poll(queue, &taken->event, 1, block, size, ms);
    if (n <= 0) return free(block), (int)GOOD(n);
    const p2p_event *event = &taken->event;
    CHECK(event->text_offset + event->text_length < size && event->data_offset + event->data_length <= size);
    EQUAL(event->reserved, 0);
    if (event->text_length) EQUAL(block[event->text_offset + event->text_length], 0);
    snprintf(taken->text, sizeof taken->text, "%.*s", (int)event->text_length, (const char *)block + event->text_offset);
    taken->len = event->data_length;
    memcpy(taken->data, block + event->data_offset, event->data_length);
    free(block);
    return 1;
}

/* The next event, within ms. Returns 0 if none came. */
static inline int event_within(p2p_handle queue, int ms, struct taken *taken)
{
    for (int i = 0; i < passed_count; i++)
        if (passed[i].queue == queue) return take_passed(i, taken), 1;
    return poll_event(queue, ms, taken);
}

static inline void next_event(p2p_handle queue, struct taken *taken)
{
    if (!event_within(queue, limit_ms(), taken)) FAIL("no event came");
}

/* Fails if an event comes within ms. */
static inline void no_event(p2p_handle queue, int ms)
{
    struct taken taken;
    if (event_within(queue, ms, &taken)) FAIL("an event of type %d came", taken.event.type);
}

static inline int is_event(const p2p_event *event, int type, const uint64_t *tag) { return event->type == type && (!tag || event->tag == *tag); }

/* The next event of a type, and with a tag unless that is NULL; others are kept for later. */
static inline void wait_event_tagged(p2p_handle queue, int type, const uint64_t *tag, struct taken *taken)
{
    const int64_t until = now_ms() + limit_ms();
    for (int i = 0; i < passed_count; i++)
        if (passed[i].queue == queue && is_event(&passed[i].taken->event, type, tag)) {
            take_passed(i, taken);
            return;
        }
    for (;;) {
        const int64_t left = until - now_ms();
        if (left <= 0 || !poll_event(queue, (int)left, taken)) FAIL("no event of type %d came", type);
        if (is_event(&taken->event, type, tag)) return;
        pass_over(queue, taken);
    }
}

static inline void wait_event(p2p_handle queue, int type, struct taken *taken) { wait_event_tagged(queue, type, NULL, taken); }

/* The completion with tag. Returns its status. */
static inline int wait_done(p2p_handle queue, uint64_t tag, struct taken *taken)
{
    wait_event_tagged(queue, P2P_EVENT_DONE, &tag, taken);
    return taken->event.status;
}

#define DONE_GOOD(queue, tag, taken)                                                        \
    do {                                                                                    \
        const int status_ = wait_done(queue, tag, taken);                                   \
        if (status_ < 0) FAIL("completed with %s: %s", p2p_error_name(status_), (taken)->text); \
    } while (0)

#define DONE_ERROR(queue, tag, taken, code)                                                 \
    do {                                                                                    \
        const int status_ = wait_done(queue, tag, taken);                                   \
        if (status_ != (code)) FAIL("completed with %d (%s), not " #code ": %s", status_, p2p_error_name(status_), (taken)->text); \
        if (!*(taken)->text) FAIL("completed with " #code " without words");                \
    } while (0)

/* Line number `line` (from 0) of an event's text. */
static inline const char *line_of(const struct taken *taken, int line)
{
    static _Thread_local char copy[sizeof taken->text];
    const char *at = taken->text;
    while (line-- > 0 && (at = strchr(at, '\n'))) at++;
    if (!at) return "";
    snprintf(copy, sizeof copy, "%.*s", (int)strcspn(at, "\n"), at);
    return copy;
}

/* A stream of `pair` from a to b: *near_out is a's end, *far_out b's. Nothing of the service that accepted it stays. */
static inline void new_stream(const struct pair *pair, p2p_handle *near_out, p2p_handle *far_out)
{
    struct taken *taken = malloc(sizeof *taken);
    p2p_handle queue = new_queue(), service;
    GOOD(p2p_stream_serve(pair->b, "/test/1.0.0", NULL, queue, 7, &service));
    GOOD(p2p_stream_open(pair->a, pair->b_id, "/test/1.0.0", NULL, near_out, NULL));
    wait_event(queue, P2P_EVENT_STREAM, taken);
    *far_out = taken->event.object;
    GOOD(p2p_close(service));
    GOOD(p2p_close(queue));
    free(taken);
}

/* A number that JSON tells under "key": the first one of that name. -1: there is none. */
static inline int64_t number_in(const char *json, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(json, quoted);
    return at ? atoll(at + strlen(quoted)) : -1;
}

static inline int64_t runtime_number(const char *key)
{
    char *json;
    GOOD(p2p_runtime_info(&json));
    const int64_t number = number_in(json, key);
    p2p_free(json);
    return number;
}

static inline int64_t info_number(p2p_handle handle, const char *key)
{
    char *json;
    GOOD(p2p_info(handle, &json));
    const int64_t number = number_in(json, key);
    p2p_free(json);
    return number;
}

/* A listener that the kernel accepts for and nobody answers at: a dial connects and then hangs in the handshake. Close the descriptor. */
static inline int hanging_listener(char address[256])
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&place, size) == 0 && listen(fd, 64) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&place, &size) == 0);
    snprintf(address, 256, "/ip4/127.0.0.1/tcp/%d/p2p/" NOBODY, ntohs(place.sin_port));
    return fd;
}

/* Every test gives all its handles back; what a failed one left does not count against the next. */

static inline void count_handles(void)
{
    handles_before = p2p_live_handles(0);
    while (passed_count > 0) free(passed[--passed_count].taken);
}

static inline void no_handle_left(void)
{
    char *json;
    if (p2p_live_handles(0) == handles_before) return;
    GOOD(p2p_runtime_info(&json));
    printf("# handles left: %s\n", json);
    p2p_free(json);
    EQUAL(p2p_live_handles(0), handles_before);
}

__attribute__((constructor)) static void check_handles(void)
{
    before_each = count_handles;
    after_each = no_handle_left;
}

#endif
