/* Misuse: every function with handles that are none, stale, of another kind; with NULL; with absurd lengths and times. Codes, never crashes. */
#include "support.h"

static char *text;
static uint8_t *block;
static size_t len;
static int number;
static int64_t wide;
static p2p_handle out;
static uint8_t small[8];
static const p2p_call brief = {.size = sizeof brief, .timeout_ms = 1000};

/* Every function whose first parameter is a handle, with the kinds that it takes (0: all) and arguments that are otherwise good. */
#define EACH_FUNCTION_OF_A_HANDLE(X)                                                        \
    X(p2p_kind, 0, (h))                                                                     \
    X(p2p_parent, 0, (h, &out))                                                             \
    X(p2p_info, 0, (h, &text))                                                              \
    X(p2p_cancel, 0, (h, 1))                                                                \
    X(p2p_answer, P2P_KIND_TOKEN, (h, P2P_VERDICT_ACCEPT))                                  \
    X(p2p_queue_fd, P2P_KIND_QUEUE, (h, &number))                                           \
    X(p2p_queue_wake, P2P_KIND_QUEUE, (h))                                                  \
    X(p2p_queue_post, P2P_KIND_QUEUE, (h, 0, 0, NULL, 0))                                   \
    X(p2p_queue_poll, P2P_KIND_QUEUE, (h, &event, 1, small, sizeof small, 0))               \
    X(p2p_config_set, P2P_KIND_CONFIG, (h, "pubsub.d", "8"))                                \
    X(p2p_config_set_secret, P2P_KIND_CONFIG, (h, "private_network.key", zeros, 32))        \
    X(p2p_config_get, P2P_KIND_CONFIG, (h, "", &text))                                      \
    X(p2p_node_close, P2P_KIND_NODE, (h, &brief))                                           \
    X(p2p_node_id, P2P_KIND_NODE, (h, &text))                                               \
    X(p2p_node_addresses, P2P_KIND_NODE, (h, &text))                                        \
    X(p2p_peer_connect, P2P_KIND_NODE, (h, NOWHERE, &text, &brief))                         \
    X(p2p_peer_disconnect, P2P_KIND_NODE, (h, NOBODY))                                      \
    X(p2p_peer_list, P2P_KIND_NODE, (h, &text))                                             \
    X(p2p_peer_info, P2P_KIND_NODE, (h, NULL, &text))                                       \
    X(p2p_peer_ping, P2P_KIND_NODE, (h, NOBODY, &wide, &brief))                             \
    X(p2p_peer_keep, P2P_KIND_NODE, (h, NOWHERE))                                           \
    X(p2p_peer_release, P2P_KIND_NODE, (h, NOBODY))                                         \
    X(p2p_peer_explain, P2P_KIND_NODE, (h, NOWHERE, NULL, &text, &brief))                   \
    X(p2p_node_listen, P2P_KIND_NODE, (h, TCP, &text))                                      \
    X(p2p_node_unlisten, P2P_KIND_NODE, (h, TCP))                                           \
    X(p2p_node_announce, P2P_KIND_NODE, (h, NULL))                                          \
    X(p2p_gate_block, P2P_KIND_NODE, (h, "192.0.2.1"))                                      \
    X(p2p_gate_allow, P2P_KIND_NODE, (h, "192.0.2.1"))                                      \
    X(p2p_gate_remove, P2P_KIND_NODE, (h, "192.0.2.1"))                                     \
    X(p2p_gate_default, P2P_KIND_NODE, (h, "allow"))                                        \
    X(p2p_gate_list, P2P_KIND_NODE, (h, &text))                                             \
    X(p2p_gate_ask, P2P_KIND_NODE, (h, NULL, queue, 0, &out))                               \
    X(p2p_peer_tag, P2P_KIND_NODE, (h, NOBODY, "x", 1))                                     \
    X(p2p_peer_untag, P2P_KIND_NODE, (h, NOBODY, "x"))                                      \
    X(p2p_peer_protect, P2P_KIND_NODE, (h, NOBODY, "x"))                                    \
    X(p2p_peer_unprotect, P2P_KIND_NODE, (h, NOBODY, "x"))                                  \
    X(p2p_peer_trim, P2P_KIND_NODE, (h, -1, &brief))                                        \
    X(p2p_node_watermarks, P2P_KIND_NODE, (h, -1, -1, -1))                                  \
    X(p2p_limits_info, P2P_KIND_NODE, (h, &text))                                           \
    X(p2p_peer_add, P2P_KIND_NODE, (h, NOWHERE, 0, &text))                                  \
    X(p2p_peer_forget, P2P_KIND_NODE, (h, NOBODY))                                          \
    X(p2p_peer_known, P2P_KIND_NODE, (h, &text))                                            \
    X(p2p_peer_put, P2P_KIND_NODE, (h, NOBODY, "x", zeros, 1))                              \
    X(p2p_peer_get, P2P_KIND_NODE, (h, NOBODY, "x", &block, &len))                          \
    X(p2p_peer_record, P2P_KIND_NODE, (h, NULL, &block, &len))                              \
    X(p2p_peer_add_record, P2P_KIND_NODE, (h, zeros, 1, 0, &text))                          \
    X(p2p_metrics, P2P_KIND_NODE, (h, "json", &text))                                       \
    X(p2p_metrics_serve, P2P_KIND_NODE, (h, NULL, NULL, &out))                              \
    X(p2p_bandwidth_info, P2P_KIND_NODE, (h, &text))                                        \
    X(p2p_perf_serve, P2P_KIND_NODE, (h, NULL, &out))                                       \
    X(p2p_perf_run, P2P_KIND_NODE, (h, NOBODY, 1, 1, NULL, &text, &brief))                  \
    X(p2p_stream_serve, P2P_KIND_NODE, (h, "/x/1", NULL, queue, 0, &out))                   \
    X(p2p_stream_open, P2P_KIND_NODE, (h, NOBODY, "/x/1", NULL, &out, &brief))              \
    X(p2p_stream_read, P2P_KIND_STREAM, (h, small, sizeof small, &brief))                   \
    X(p2p_stream_write, P2P_KIND_STREAM, (h, zeros, 1, &brief))                             \
    X(p2p_stream_read_message, P2P_KIND_STREAM, (h, 100, &block, &len, &brief))             \
    X(p2p_stream_write_message, P2P_KIND_STREAM, (h, zeros, 1, &brief))                     \
    X(p2p_stream_close_write, P2P_KIND_STREAM, (h, &brief))                                 \
    X(p2p_stream_close_read, P2P_KIND_STREAM, (h))                                          \
    X(p2p_stream_reset, P2P_KIND_STREAM, (h, 0))                                            \
    X(p2p_stream_deadline, P2P_KIND_STREAM, (h, -1, -1))                                    \
    X(p2p_stream_watch, P2P_KIND_STREAM, (h, queue, 0, 0, 0))                               \
    X(p2p_stream_credit, P2P_KIND_STREAM, (h, 1))                                           \
    X(p2p_stream_fd, P2P_KIND_STREAM, (h, &number))                                         \
    X(p2p_request_send, P2P_KIND_NODE, (h, NOBODY, "/x/1", NULL, 0, NULL, &block, &len, &brief)) \
    X(p2p_request_open, P2P_KIND_NODE, (h, NOBODY, "/x/1", NULL, 0, NULL, &out, &brief))    \
    X(p2p_request_next, P2P_KIND_EXCHANGE, (h, &block, &len, &brief))                       \
    X(p2p_request_serve, P2P_KIND_NODE, (h, "/x/1", NULL, queue, 0, &out))                  \
    X(p2p_request_respond, P2P_KIND_REQUEST, (h, NULL, 0, 0, &brief))                       \
    X(p2p_request_fail, P2P_KIND_REQUEST, (h, 1, "no"))                                     \
    X(p2p_dht_bootstrap, P2P_KIND_NODE, (h, 0, &brief))                                     \
    X(p2p_dht_put, P2P_KIND_NODE, (h, "/pk/x", zeros, 1, NULL, &brief))                     \
    X(p2p_dht_get, P2P_KIND_NODE, (h, "x", NULL, &block, &len, &brief))                     \
    X(p2p_dht_search, P2P_KIND_NODE, (h, "x", NULL, queue, 0, &out))                        \
    X(p2p_dht_set, P2P_KIND_NODE, (h, "x", zeros, 1, NULL, &brief))                         \
    X(p2p_dht_unset, P2P_KIND_NODE, (h, "x", &brief))                                       \
    X(p2p_dht_provide, P2P_KIND_NODE, (h, "/x", &brief))                                    \
    X(p2p_dht_provide_start, P2P_KIND_NODE, (h, "/x", &brief))                              \
    X(p2p_dht_provide_stop, P2P_KIND_NODE, (h, "/x", &brief))                               \
    X(p2p_dht_find_providers, P2P_KIND_NODE, (h, "/x", NULL, queue, 0, &out))               \
    X(p2p_dht_find_peer, P2P_KIND_NODE, (h, NOBODY, &text, &brief))                         \
    X(p2p_dht_closest_peers, P2P_KIND_NODE, (h, "/x/y", &text, &brief))                     \
    X(p2p_dht_refresh, P2P_KIND_NODE, (h, &brief))                                          \
    X(p2p_dht_mode, P2P_KIND_NODE, (h, "client"))                                           \
    X(p2p_dht_info, P2P_KIND_NODE, (h, &text))                                              \
    X(p2p_topic_join, P2P_KIND_NODE, (h, "t", NULL, queue, 0, &out))                        \
    X(p2p_topic_publish, P2P_KIND_TOPIC, (h, zeros, 1, 0, &brief))                          \
    X(p2p_topic_subscribe, P2P_KIND_TOPIC, (h, NULL, queue, 0, &out))                       \
    X(p2p_topic_peers, P2P_KIND_TOPIC, (h, &text))                                          \
    X(p2p_nat_info, P2P_KIND_NODE, (h, &text))                                              \
    X(p2p_nat_wait, P2P_KIND_NODE, (h, NULL, &text, &brief))                                \
    X(p2p_relay_reserve, P2P_KIND_NODE, (h, NOWHERE, queue, 0, &out, &text, &brief))        \
    X(p2p_relay_info, P2P_KIND_NODE, (h, &text))                                            \
    X(p2p_relay_allow, P2P_KIND_NODE, (h, NOBODY))                                          \
    X(p2p_relay_deny, P2P_KIND_NODE, (h, NOBODY))                                           \
    X(p2p_relay_forget, P2P_KIND_NODE, (h, NOBODY))                                         \
    X(p2p_discovery_join, P2P_KIND_NODE, (h, "t", NULL, queue, 0, &out))                    \
    X(p2p_discovery_peers, P2P_KIND_DISCOVERY, (h, &text))                                  \
    X(p2p_discovery_advertise, P2P_KIND_NODE, (h, "t", NULL, queue, 0, &out))               \
    X(p2p_discovery_find, P2P_KIND_NODE, (h, "t", NULL, queue, 0, &out))                    \
    X(p2p_rendezvous_register, P2P_KIND_NODE, (h, NOWHERE, "t", NULL, queue, 0, &out, &brief)) \
    X(p2p_rendezvous_unregister, P2P_KIND_NODE, (h, NOWHERE, "t", &brief))                  \
    X(p2p_rendezvous_discover, P2P_KIND_NODE, (h, NOWHERE, "t", NULL, &text, &brief))

static const uint8_t zeros[64];

/* One handle of each kind, alive. */
struct zoo {
    struct pair pair;
    p2p_handle queue, queue_a, of[P2P_KIND_TOKEN + 1];
};

static struct zoo new_zoo(void)
{
    struct zoo z = {.pair = new_pair(TCP), .queue = new_queue(), .queue_a = new_queue()};
    struct taken *t = malloc(sizeof *t);
    p2p_call call = on(z.queue, 1);
    p2p_handle far, topic_a, subscription_a;
    z.of[P2P_KIND_QUEUE] = z.queue;
    GOOD(p2p_config_new(NULL, &z.of[P2P_KIND_CONFIG]));
    z.of[P2P_KIND_NODE] = z.pair.b;
    new_stream(&z.pair, &z.of[P2P_KIND_STREAM], &far);
    GOOD(p2p_request_serve(z.pair.b, "/ask/1", NULL, z.queue, 0, &z.of[P2P_KIND_SERVICE]));
    EQUAL(p2p_request_open(z.pair.a, z.pair.b_id, "/ask/1", NULL, 0, NULL, NULL, &call), P2P_PENDING);
    wait_event(z.queue, P2P_EVENT_REQUEST, t);
    z.of[P2P_KIND_REQUEST] = t->event.object;
    GOOD(p2p_request_respond(t->event.object, zeros, 1, 1, NULL));
    DONE_GOOD(z.queue, 1, t);
    z.of[P2P_KIND_EXCHANGE] = t->event.object;
    GOOD(p2p_topic_join(z.pair.b, "zoo", "{\"validate\": true, \"validate_timeout_ms\": 60000}", z.queue, 0, &z.of[P2P_KIND_TOPIC]));
    GOOD(p2p_topic_subscribe(z.of[P2P_KIND_TOPIC], NULL, z.queue, 0, &z.of[P2P_KIND_SUBSCRIPTION]));
    GOOD(p2p_topic_join(z.pair.a, "zoo", NULL, 0, 0, &topic_a));
    GOOD(p2p_topic_subscribe(topic_a, NULL, z.queue_a, 0, &subscription_a));
    GOOD(p2p_topic_publish(topic_a, zeros, 1, 1, NULL));
    wait_event(z.queue, P2P_EVENT_VALIDATE, t);
    z.of[P2P_KIND_TOKEN] = t->event.object;
    free(t);
    return z;
}

static void end_zoo(struct zoo *z)
{
    GOOD(p2p_close(z->of[P2P_KIND_CONFIG]));
    close_pair(&z->pair);
    GOOD(p2p_close(z->queue));
    GOOD(p2p_close(z->queue_a));
}

/* A live handle of another kind is P2P_E_KIND. One that is none is P2P_E_HANDLE; if it also has the looks of another kind, either is true. */
static int is_refused(const char *function, int64_t result, p2p_handle h, int kind, int takes)
{
    if (!kind && strcmp(function, "p2p_node_close") == 0 && (h & 15) == P2P_KIND_NODE && result == 0) return 1; /* closing what is closed */
    if (kind) return result == P2P_E_KIND;
    return result == P2P_E_HANDLE || (takes && (int)(h & 15) != takes && result == P2P_E_KIND);
}

/* Calls everything on handle; `kind` is its kind, 0 if it is none. */
static void misuse(p2p_handle h, int kind, p2p_handle queue, const char *what)
{
    p2p_event event;
    int64_t result;
    char *name;
#define TRY(function, takes, arguments)                                                     \
    if (!kind || ((takes) && (takes) != kind)) {                                            \
        out = 5, text = (char *)small, block = small, len = 5;                              \
        result = function arguments;                                                        \
        name = #function;                                                                   \
        if (!is_refused(name, result, h, kind, takes))                                      \
            FAIL("%s with %s: %lld (%s) %s", name, what, (long long)result, p2p_error_name((int)result), p2p_last_error()); \
        if (result < 0 && !*p2p_last_error()) FAIL("%s with %s: no words", name, what);                   \
        if (text != (char *)small && text != NULL) FAIL("%s with %s: its text was not set to NULL", name, what); \
        if (block != small && block != NULL) FAIL("%s with %s: its block was not set to NULL", name, what); \
    }
    EACH_FUNCTION_OF_A_HANDLE(TRY)
#undef TRY
}

TEST(handle__that_never_was)
{
    p2p_handle queue = new_queue();
    const p2p_handle none[] = {0, 1, 2, 3, 0x7fffffff, 1ULL << 40, (1ULL << 53) - 1, 1ULL << 53, 1ULL << 63, UINT64_MAX, queue + 16, queue + 1600, queue ^ 15};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char what[40];
        snprintf(what, sizeof what, "handle %#llx", (unsigned long long)none[i]);
        misuse(none[i], 0, queue, what);
        ERROR(p2p_close(none[i]), P2P_E_HANDLE);
    }
    GOOD(p2p_close(queue));
}

TEST(handle__of_random_numbers)
{
    p2p_handle queue = new_queue();
    uint64_t random = 88172645463325252ULL;
    for (int i = 0; i < 200; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        if ((random >> (i % 64)) != queue) misuse(random >> (i % 64), 0, queue, "a random number");
    }
    GOOD(p2p_close(queue));
}

TEST(handle__of_another_kind)
{
    struct zoo z = new_zoo();
    for (int kind = P2P_KIND_QUEUE; kind <= P2P_KIND_TOKEN; kind++) {
        char what[32];
        snprintf(what, sizeof what, "kind %d", kind);
        EQUAL(p2p_kind(z.of[kind]), kind);
        CHECK(z.of[kind] < 1ULL << 53);
        misuse(z.of[kind], kind, z.queue, what);
        EQUAL(p2p_kind(z.of[kind]), kind);
        CHECK(p2p_live_handles(kind) > 0);
    }
    end_zoo(&z);
}

TEST(handle__stale_of_each_kind_and_closed_twice)
{
    struct zoo z = new_zoo();
    p2p_handle queue = new_queue();
    for (int kind = P2P_KIND_TOKEN; kind >= P2P_KIND_QUEUE; kind--) {
        char what[32];
        snprintf(what, sizeof what, "stale kind %d", kind);
        if (kind != P2P_KIND_TOKEN) GOOD(p2p_close(z.of[kind]));
        else GOOD(p2p_answer(z.of[kind], P2P_VERDICT_IGNORE));
        misuse(z.of[kind], 0, queue, what);
        if (kind != P2P_KIND_TOKEN) EQUAL(p2p_close(z.of[kind]), 0);
    }
    end_zoo(&z);
    GOOD(p2p_close(queue));
}

TEST(handle__in_place_of_a_queue)
{
    p2p_handle node = new_node(NULL, NULL), config, stream;
    GOOD(p2p_config_new(NULL, &config));
    const p2p_handle wrong[] = {node, config, (node | 15) - 14 + 1600}; /* the last has the looks of a queue, and is none */
    for (int i = 0; i < 3; i++) {
        const int code = i < 2 ? P2P_E_KIND : P2P_E_HANDLE;
        const p2p_call call = on(wrong[i], 1);
        ERROR(p2p_log_queue(wrong[i], 0), code);
        ERROR(p2p_node_new(0, wrong[i], 0, &out, NULL), code);
        ERROR(p2p_stream_serve(node, "/x/1", NULL, wrong[i], 0, &out), code);
        ERROR(p2p_request_serve(node, "/x/1", NULL, wrong[i], 0, &out), code);
        ERROR(p2p_topic_join(node, "x", NULL, wrong[i], 0, &out), code);
        ERROR(p2p_peer_connect(node, NOWHERE, NULL, &call), code);
        ERROR(p2p_peer_ping(node, NOBODY, NULL, &call), code);
        ERROR(p2p_stream_open(node, NOBODY, "/x/1", NULL, &stream, &call), code);
        ERROR(p2p_request_send(node, NOBODY, "/x/1", NULL, 0, NULL, NULL, NULL, &call), code);
        ERROR(p2p_request_open(node, NOBODY, "/x/1", NULL, 0, NULL, NULL, &call), code);
        ERROR(p2p_node_close(node, &call), code);
    }
    ERROR(p2p_node_new(node, 0, 0, &out, NULL), P2P_E_KIND);
    ERROR(p2p_node_new(4711, 0, 0, &out, NULL), P2P_E_HANDLE);
    GOOD(p2p_close(node));
    GOOD(p2p_close(config));
}

#define IS_NULL(call, parameter)                                                            \
    do {                                                                                    \
        ERROR(call, P2P_E_INVALID);                                                         \
        CONTAINS(p2p_last_error(), parameter);                                              \
    } while (0)

TEST(null__in_place_of_texts_and_results_names_the_parameter)
{
    struct zoo z = new_zoo();
    const p2p_handle node = z.pair.b, queue = z.queue, config = z.of[P2P_KIND_CONFIG], stream = z.of[P2P_KIND_STREAM], topic = z.of[P2P_KIND_TOPIC];
    IS_NULL(p2p_build_info(NULL), "json_out");
    IS_NULL(p2p_runtime_info(NULL), "json_out");
    IS_NULL(p2p_log_level(NULL, "off"), "subsystem");
    IS_NULL(p2p_log_level("*", NULL), "level");
    IS_NULL(p2p_parent(node, NULL), "parent_out");
    IS_NULL(p2p_info(node, NULL), "json_out");
    IS_NULL(p2p_queue_new(0, NULL), "queue_out");
    IS_NULL(p2p_queue_poll(queue, NULL, 1, small, sizeof small, 0), "events");
    IS_NULL(p2p_queue_poll(queue, &(p2p_event){0}, 1, NULL, 8, 0), "data");
    IS_NULL(p2p_queue_fd(queue, NULL), "fd_out");
    IS_NULL(p2p_queue_post(queue, 0, 0, NULL, 1), "data");
    IS_NULL(p2p_config_new("{}", NULL), "config_out");
    IS_NULL(p2p_config_set(config, NULL, "8"), "path");
    IS_NULL(p2p_config_set(config, "pubsub.d", NULL), "value");
    IS_NULL(p2p_config_set_secret(config, NULL, zeros, 1), "path");
    IS_NULL(p2p_config_set_secret(config, "identity.key", NULL, 1), "data");
    IS_NULL(p2p_config_get(config, NULL, &text), "path");
    IS_NULL(p2p_config_get(config, "", NULL), "json_out");
    IS_NULL(p2p_config_schema(NULL), "json_out");
    IS_NULL(p2p_key_new(NULL, &block, &len), "type");
    IS_NULL(p2p_key_new("ed25519", NULL, &len), "key_out");
    IS_NULL(p2p_key_new("ed25519", &block, NULL), "len_out");
    IS_NULL(p2p_key_peer_id(NULL, 5, &text), "key");
    IS_NULL(p2p_key_peer_id(zeros, 5, NULL), "peer_out");
    IS_NULL(p2p_node_new(0, 0, 0, NULL, NULL), "node_out");
    IS_NULL(p2p_node_id(node, NULL), "peer_out");
    IS_NULL(p2p_node_addresses(node, NULL), "addresses_out");
    IS_NULL(p2p_peer_connect(node, NULL, &text, &brief), "addresses");
    IS_NULL(p2p_peer_disconnect(node, NULL), "peer");
    IS_NULL(p2p_peer_list(node, NULL), "peers_out");
    IS_NULL(p2p_peer_info(node, NULL, NULL), "json_out");
    IS_NULL(p2p_peer_ping(node, NULL, &wide, &brief), "peer");
    IS_NULL(p2p_peer_keep(node, NULL), "addresses");
    IS_NULL(p2p_peer_release(node, NULL), "peer");
    IS_NULL(p2p_peer_explain(node, NULL, NULL, &text, &brief), "addresses");
    IS_NULL(p2p_peer_explain(node, NOWHERE, NULL, NULL, &brief), "text_out");
    IS_NULL(p2p_node_listen(node, NULL, &text), "addresses");
    IS_NULL(p2p_node_unlisten(node, NULL), "addresses");
    IS_NULL(p2p_gate_block(node, NULL), "rules");
    IS_NULL(p2p_gate_allow(node, NULL), "rules");
    IS_NULL(p2p_gate_remove(node, NULL), "rules");
    IS_NULL(p2p_gate_default(node, NULL), "verdict");
    IS_NULL(p2p_gate_list(node, NULL), "json_out");
    IS_NULL(p2p_gate_ask(node, NULL, queue, 0, NULL), "service_out");
    IS_NULL(p2p_peer_tag(node, NULL, "x", 1), "peer");
    IS_NULL(p2p_peer_tag(node, NOBODY, NULL, 1), "name");
    IS_NULL(p2p_peer_untag(node, NOBODY, NULL), "name");
    IS_NULL(p2p_peer_protect(node, NULL, "x"), "peer");
    IS_NULL(p2p_peer_unprotect(node, NOBODY, NULL), "name");
    IS_NULL(p2p_limits_info(node, NULL), "json_out");
    IS_NULL(p2p_peer_add(node, NULL, 0, &text), "addresses");
    IS_NULL(p2p_peer_forget(node, NULL), "peer");
    IS_NULL(p2p_peer_known(node, NULL), "peers_out");
    IS_NULL(p2p_peer_put(node, NOBODY, NULL, zeros, 1), "name");
    IS_NULL(p2p_peer_put(node, NOBODY, "x", NULL, 1), "data");
    IS_NULL(p2p_peer_get(node, NOBODY, "x", NULL, &len), "data_out");
    IS_NULL(p2p_peer_get(node, NOBODY, "x", &block, NULL), "len_out");
    IS_NULL(p2p_peer_record(node, NULL, NULL, &len), "record_out");
    IS_NULL(p2p_peer_add_record(node, NULL, 1, 0, &text), "record");
    IS_NULL(p2p_metrics(node, "json", NULL), "text_out");
    IS_NULL(p2p_metrics_serve(node, NULL, NULL, NULL), "service_out");
    IS_NULL(p2p_bandwidth_info(node, NULL), "json_out");
    IS_NULL(p2p_perf_serve(node, NULL, NULL), "service_out");
    IS_NULL(p2p_perf_run(node, NULL, 1, 1, NULL, &text, &brief), "peer");
    IS_NULL(p2p_perf_run(node, NOBODY, 1, 1, NULL, NULL, &brief), "json_out");
    IS_NULL(p2p_stream_serve(node, NULL, NULL, queue, 0, &out), "protocols");
    IS_NULL(p2p_stream_serve(node, "/x/1", NULL, queue, 0, NULL), "service_out");
    IS_NULL(p2p_stream_open(node, NULL, "/x/1", NULL, &out, &brief), "peer");
    IS_NULL(p2p_stream_open(node, NOBODY, NULL, NULL, &out, &brief), "protocols");
    IS_NULL(p2p_stream_open(node, NOBODY, "/x/1", NULL, NULL, &brief), "stream_out");
    IS_NULL(p2p_stream_read(stream, NULL, 5, &brief), "data");
    IS_NULL(p2p_stream_write(stream, NULL, 5, &brief), "data");
    IS_NULL(p2p_stream_read_message(stream, 5, NULL, &len, &brief), "data_out");
    IS_NULL(p2p_stream_read_message(stream, 5, &block, NULL, &brief), "len_out");
    IS_NULL(p2p_stream_write_message(stream, NULL, 5, &brief), "data");
    IS_NULL(p2p_stream_fd(stream, NULL), "fd_out");
    IS_NULL(p2p_request_send(node, NULL, "/x/1", NULL, 0, NULL, &block, &len, &brief), "peer");
    IS_NULL(p2p_request_send(node, NOBODY, NULL, NULL, 0, NULL, &block, &len, &brief), "protocol");
    IS_NULL(p2p_request_send(node, NOBODY, "/x/1", NULL, 5, NULL, &block, &len, &brief), "data");
    IS_NULL(p2p_request_send(node, NOBODY, "/x/1", NULL, 0, NULL, NULL, &len, &brief), "answer_out");
    IS_NULL(p2p_request_send(node, NOBODY, "/x/1", NULL, 0, NULL, &block, NULL, &brief), "answer_len_out");
    IS_NULL(p2p_request_open(node, NULL, "/x/1", NULL, 0, NULL, &out, &brief), "peer");
    IS_NULL(p2p_request_open(node, NOBODY, NULL, NULL, 0, NULL, &out, &brief), "protocol");
    IS_NULL(p2p_request_open(node, NOBODY, "/x/1", NULL, 0, NULL, NULL, &brief), "exchange_out");
    IS_NULL(p2p_request_next(z.of[P2P_KIND_EXCHANGE], NULL, &len, &brief), "part_out");
    IS_NULL(p2p_request_next(z.of[P2P_KIND_EXCHANGE], &block, NULL, &brief), "part_len_out");
    IS_NULL(p2p_request_serve(node, NULL, NULL, queue, 0, &out), "protocol");
    IS_NULL(p2p_request_serve(node, "/x/1", NULL, queue, 0, NULL), "service_out");
    IS_NULL(p2p_request_respond(z.of[P2P_KIND_REQUEST], NULL, 5, 0, &brief), "data");
    IS_NULL(p2p_request_fail(z.of[P2P_KIND_REQUEST], 1, NULL), "words");
    IS_NULL(p2p_topic_join(node, NULL, NULL, queue, 0, &out), "name");
    IS_NULL(p2p_topic_join(node, "x", NULL, queue, 0, NULL), "topic_out");
    IS_NULL(p2p_topic_publish(topic, NULL, 5, 0, &brief), "data");
    IS_NULL(p2p_topic_subscribe(topic, NULL, queue, 0, NULL), "subscription_out");
    IS_NULL(p2p_topic_peers(topic, NULL), "peers_out");
    end_zoo(&z);
}

/* Whether a call turned a length away before it looked at a single byte. */
#define IS_ABSURD(call)                                                                     \
    do {                                                                                    \
        const int64_t result_ = (int64_t)(call);                                            \
        if (result_ != P2P_E_TOO_BIG && result_ != P2P_E_INVALID)                           \
            FAIL("%s: %lld (%s): %s", #call, (long long)result_, p2p_error_name((int)result_), p2p_last_error()); \
    } while (0)

TEST(length__that_is_absurd_is_turned_away)
{
    struct zoo z = new_zoo();
    const size_t absurd[] = {SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 62, (size_t)1 << 40, ((size_t)1 << 30) + 1};
    for (int i = 0; i < 5; i++) {
        const size_t n = absurd[i];
        IS_ABSURD(p2p_queue_post(z.queue, 0, 0, zeros, n));
        IS_ABSURD(p2p_config_set_secret(z.of[P2P_KIND_CONFIG], "identity.key", zeros, n));
        IS_ABSURD(p2p_key_peer_id(zeros, n, &text));
        IS_ABSURD(p2p_stream_write(z.of[P2P_KIND_STREAM], zeros, n, &brief));
        IS_ABSURD(p2p_stream_write_message(z.of[P2P_KIND_STREAM], zeros, n, &brief));
        IS_ABSURD(p2p_request_send(z.pair.a, z.pair.b_id, "/ask/1", zeros, n, NULL, &block, &len, &brief));
        IS_ABSURD(p2p_request_open(z.pair.a, z.pair.b_id, "/ask/1", zeros, n, NULL, &out, &brief));
        IS_ABSURD(p2p_request_respond(z.of[P2P_KIND_REQUEST], zeros, n, 1, &brief));
        IS_ABSURD(p2p_topic_publish(z.of[P2P_KIND_TOPIC], zeros, n, 0, &brief));
    }
    end_zoo(&z);
}

TEST(call__of_wrong_size_or_time)
{
    p2p_handle node = new_node(NULL, NULL), queue = new_queue();
    p2p_event event;
    p2p_call call = within(100);
    call.size = 0;
    ERROR(p2p_peer_connect(node, NOWHERE, NULL, &call), P2P_E_INVALID);
    call.size = 4;
    ERROR(p2p_peer_connect(node, NOWHERE, NULL, &call), P2P_E_INVALID);
    call = within(-2);
    ERROR(p2p_peer_connect(node, NOWHERE, NULL, &call), P2P_E_INVALID);
    call = within(INT32_MIN);
    ERROR(p2p_peer_connect(node, NOWHERE, NULL, &call), P2P_E_INVALID);
    ERROR(p2p_queue_poll(queue, &event, 1, small, sizeof small, -2), P2P_E_INVALID);
    ERROR(p2p_queue_poll(queue, &event, 0, small, sizeof small, 0), P2P_E_INVALID);
    ERROR(p2p_queue_poll(queue, &event, -1, small, sizeof small, 0), P2P_E_INVALID);
    struct { p2p_call call; uint64_t later[4]; } larger = {.call = within(5000), .later = {1, 2, 3, 4}};
    larger.call.size = sizeof larger; /* a caller of a later version */
    ERROR(p2p_peer_connect(node, NOWHERE, NULL, &larger.call), P2P_E_DIAL);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
}

TEST(live_handles__of_an_unknown_kind)
{
    CHECK(p2p_live_handles(0) >= 0);
    CHECK(p2p_live_handles(-1) <= 0);
    CHECK(p2p_live_handles(999) <= 0);
}
