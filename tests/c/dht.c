/* The distributed hash table: values, names of a node's own, providers, peers by id, verdicts, modes, misuse, cancelling, closing, leaks. */
#include "support.h"

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

#define SERVERS 4
#define SERVER "\"dht\": {\"mode\": \"server\", \"validators\": [\"app=accept\", \"ask=ask\"], \"validate_timeout_ms\": 5000}"

/* Servers that know each other through the first. */
struct network {
    p2p_handle node[SERVERS], queue;
    char id[SERVERS][128];
    struct taken *t;
};

static struct network begin(void)
{
    struct network n = {.queue = new_queue(), .t = malloc(sizeof(struct taken))};
    char address[256];
    for (int i = 0; i < SERVERS; i++) {
        n.node[i] = new_node_on(n.queue, TCP, SERVER);
        copy_id(n.node[i], n.id[i]);
        if (i == 0) first_address(n.node[0], address);
        else GOOD(p2p_peer_connect(n.node[i], address, NULL, NULL));
    }
    for (int i = 0; i < SERVERS; i++) CHECK(GOOD(p2p_dht_bootstrap(n.node[i], 2, NULL)) >= 2);
    return n;
}

static void finish(struct network *n)
{
    for (int i = 0; i < SERVERS; i++) GOOD(p2p_close(n->node[i]));
    GOOD(p2p_close(n->queue));
    free(n->t);
}

static void expect_value(p2p_handle node, const char *key, const char *value)
{
    uint8_t *data;
    size_t len;
    GOOD(p2p_dht_get(node, key, NULL, &data, &len, NULL));
    EQUAL_TEXT((char *)data, value); /* a block ends in a NUL */
    EQUAL(len, strlen(value));
    p2p_free(data);
}

TEST(dht_put__is_got_from_every_node)
{
    struct network n = begin();
    CHECK(GOOD(p2p_dht_put(n.node[1], "/app/motd", bytes("hello"), 5, NULL, NULL)) >= 2);
    for (int i = 0; i < SERVERS; i++) expect_value(n.node[i], "/app/motd", "hello");
    const p2p_call call = on(n.queue, 7);
    EQUAL(p2p_dht_get(n.node[2], "/app/motd", "{\"quorum\": 1}", NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(n.queue, 7, n.t);
    CHECK(n.t->len == 5 && memcmp(n.t->data, "hello", 5) == 0);
    EQUAL(p2p_dht_put(n.node[2], "/app/motd", bytes("bye"), 3, NULL, &call), P2P_PENDING);
    DONE_GOOD(n.queue, 7, n.t);
    CHECK(n.t->event.value >= 2);
    expect_value(n.node[3], "/app/motd", "bye");
    ERROR(p2p_dht_put(n.node[2], "/app/empty", NULL, 0, NULL, NULL), P2P_E_INVALID);
    finish(&n);
}

TEST(dht_set__belongs_to_its_owner)
{
    struct network n = begin();
    char name[256], key[300];
    uint8_t *raw;
    size_t len;
    p2p_handle search;
    snprintf(name, sizeof name, "%s/color", n.id[0]);
    snprintf(key, sizeof key, "/record/%s", name);
    GOOD(p2p_dht_set(n.node[0], "color", bytes("red"), 3, NULL, NULL));
    GOOD(p2p_dht_set(n.node[0], "color", bytes("green"), 5, "{\"expiry_ms\": 3600000}", NULL));
    expect_value(n.node[0], "color", "green");
    expect_value(n.node[2], name, "green");
    GOOD(p2p_dht_get(n.node[2], name, "{\"raw\": true}", &raw, &len, NULL));
    CHECK(len > 100);
    CHECK(GOOD(p2p_dht_put(n.node[3], key, raw, len, NULL, NULL)) >= 1);
    p2p_free(raw);
    ERROR(p2p_dht_set(n.node[1], name, bytes("mine"), 4, NULL, NULL), P2P_E_INVALID);
    GOOD(p2p_dht_search(n.node[1], name, NULL, n.queue, 5, &search));
    int found = 0;
    do {
        next_event(n.queue, n.t);
        if (n.t->event.type == P2P_EVENT_DHT_VALUE) {
            found++;
            EQUAL(n.t->event.subject, search);
            EQUAL(n.t->event.tag, 5);
            EQUAL_TEXT(n.t->text, key);
            CHECK(n.t->event.value > 0 && n.t->event.status == 0);
            CHECK(n.t->len == 5 && memcmp(n.t->data, "green", 5) == 0);
        }
    } while (n.t->event.type != P2P_EVENT_CLOSED);
    EQUAL(n.t->event.status, 0);
    CHECK(found >= 1);
    GOOD(p2p_close(search));
    GOOD(p2p_dht_unset(n.node[0], "color", NULL));
    ERROR(p2p_dht_get(n.node[1], name, NULL, &raw, &len, NULL), P2P_E_NOT_FOUND);
    CONTAINS(p2p_last_error(), "withdrawn");
    ERROR(p2p_dht_unset(n.node[0], "color", NULL), P2P_E_NOT_FOUND);
    finish(&n);
}

/* Counts the providers that a search brings until its end; the first one's peer id goes to first. */
static int count_providers(struct network *n, p2p_handle node, const char *key, const char *options, char first[128])
{
    p2p_handle search;
    int count = 0;
    GOOD(p2p_dht_find_providers(node, key, options, n->queue, 3, &search));
    EQUAL(p2p_kind(search), P2P_KIND_SEARCH);
    do {
        next_event(n->queue, n->t);
        if (n->t->event.type == P2P_EVENT_DHT_PROVIDER && count++ == 0) {
            snprintf(first, 128, "%.120s", line_of(n->t, 0));
            CONTAINS(line_of(n->t, 1), "/tcp/");
        }
    } while (n->t->event.type != P2P_EVENT_CLOSED);
    EQUAL(n->t->event.status, 0);
    EQUAL(n->t->event.subject, search);
    GOOD(p2p_close(search));
    return count;
}

TEST(dht_provide__is_found_from_every_node)
{
    struct network n = begin();
    char first[128];
    CHECK(GOOD(p2p_dht_provide(n.node[1], "/model/7", NULL)) >= 2);
    for (int i = 0; i < SERVERS; i++) {
        EQUAL(count_providers(&n, n.node[i], "/model/7", NULL, first), 1);
        EQUAL_TEXT(first, n.id[1]);
    }
    CHECK(GOOD(p2p_dht_provide(n.node[2], "/model/7", NULL)) >= 2);
    EQUAL(count_providers(&n, n.node[3], "/model/7", NULL, first), 2);
    EQUAL(count_providers(&n, n.node[3], "/model/7", "{\"count\": 1}", first), 1);
    finish(&n);
}

TEST(dht_provide_start__keeps_many_keys)
{
    struct network n = begin();
    const p2p_call call = on(n.queue, 4);
    char first[128], *json;
    EQUAL(p2p_dht_provide_start(n.node[0], "/a\n/b\n/c\n", &call), P2P_PENDING);
    DONE_GOOD(n.queue, 4, n.t);
    GOOD(p2p_dht_info(n.node[0], &json));
    EQUAL(number_in(json, "providing"), 3);
    p2p_free(json);
    for (const char *key = "/a"; key; key = key[1] == 'a' ? "/b" : key[1] == 'b' ? "/c" : NULL) {
        EVENTUALLY(count_providers(&n, n.node[3], key, NULL, first) == 1);
        EQUAL_TEXT(first, n.id[0]);
    }
    GOOD(p2p_dht_provide_stop(n.node[0], "/a\n/b", NULL));
    GOOD(p2p_dht_info(n.node[0], &json));
    EQUAL(number_in(json, "providing"), 1);
    p2p_free(json);
    finish(&n);
}

TEST(dht_find_peer__and_connecting_by_a_bare_id)
{
    struct network n = begin();
    p2p_handle client = new_node(NULL, "\"dht\": {\"mode\": \"client\"}");
    char address[256], *text;
    first_address(n.node[0], address);
    GOOD(p2p_peer_connect(client, address, NULL, NULL));
    GOOD(p2p_dht_bootstrap(client, 0, NULL));
    GOOD(p2p_dht_find_peer(client, n.id[3], &text, NULL));
    CONTAINS(text, n.id[3]);
    p2p_free(text);
    GOOD(p2p_dht_closest_peers(client, n.id[3], &text, NULL));
    CONTAINS(text, n.id[3]);
    p2p_free(text);
    GOOD(p2p_peer_connect(client, n.id[3], &text, NULL));
    EQUAL_TEXT(text, n.id[3]);
    p2p_free(text);
    CHECK(GOOD(p2p_dht_refresh(client, NULL)) >= 1);
    ERROR(p2p_dht_find_peer(client, NOBODY, &text, NULL), P2P_E_NOT_FOUND);
    ERROR(p2p_peer_connect(client, NOBODY, &text, NULL), P2P_E_NO_ADDRESS);
    CONTAINS(p2p_last_error(), "DHT");
    GOOD(p2p_close(client));
    finish(&n);
}

TEST(dht_verdict__of_the_program_holds)
{
    struct network n = begin();
    const p2p_call call = on(n.queue, 6);
    for (int good = 1; good >= 0; good--) {
        EQUAL(p2p_dht_put(n.node[0], good ? "/ask/x" : "/ask/y", bytes("value"), 5, NULL, &call), P2P_PENDING);
        int asked = 0;
        for (;;) {
            next_event(n.queue, n.t);
            if (n.t->event.type == P2P_EVENT_DONE) break;
            if (n.t->event.type != P2P_EVENT_DHT_VALIDATE) continue;
            asked++;
            EQUAL_TEXT(n.t->text, good ? "/ask/x" : "/ask/y");
            CHECK(n.t->len == 5 && memcmp(n.t->data, "value", 5) == 0);
            GOOD(p2p_answer(n.t->event.object, good ? P2P_VERDICT_ACCEPT : P2P_VERDICT_REJECT));
            ERROR(p2p_answer(n.t->event.object, P2P_VERDICT_ACCEPT), P2P_E_HANDLE);
        }
        EQUAL(asked, SERVERS - 1);
        if (good) EQUAL(n.t->event.value, SERVERS - 1);
        else EQUAL(n.t->event.status, P2P_E_PEERS);
    }
    finish(&n);
}

TEST(dht_mode__changes_at_run_time)
{
    p2p_handle queue = new_queue(), node = new_node_on(queue, TCP, "\"dht\": {\"mode\": \"client\"}");
    struct taken *t = malloc(sizeof *t);
    char *json;
    GOOD(p2p_dht_mode(node, "server"));
    wait_event(queue, P2P_EVENT_DHT_MODE, t);
    EQUAL_TEXT(line_of(t, 0), "server");
    EQUAL_TEXT(line_of(t, 1), "/libp2pgo/kad/1.0.0");
    GOOD(p2p_dht_mode(node, "auto")); /* a client, until somebody found it reachable */
    wait_event(queue, P2P_EVENT_DHT_MODE, t);
    EQUAL_TEXT(t->text, "client");
    GOOD(p2p_dht_info(node, &json));
    CONTAINS(json, "\"mode\":\"auto\"");
    CONTAINS(json, "\"serving\":false");
    p2p_free(json);
    ERROR(p2p_dht_mode(node, "off"), P2P_E_INVALID);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(dht__off_and_alone)
{
    p2p_handle off = new_node(NULL, NULL), alone = new_node(NULL, SERVER), queue = new_queue(), search;
    struct taken *t = malloc(sizeof *t);
    const p2p_call brief = within(50);
    char *text;
    uint8_t *data;
    size_t len;
    ERROR(p2p_dht_bootstrap(off, 0, NULL), P2P_E_STATE);
    CONTAINS(p2p_last_error(), "dht.mode");
    ERROR(p2p_dht_get(off, "x", NULL, &data, &len, NULL), P2P_E_STATE);
    ERROR(p2p_dht_info(off, &text), P2P_E_STATE);
    ERROR(p2p_dht_bootstrap(alone, 0, &brief), P2P_E_PEERS);
    ERROR(p2p_dht_put(alone, "/app/x", bytes("1"), 1, NULL, NULL), P2P_E_PEERS);
    EQUAL(GOOD(p2p_dht_put(alone, "/app/x", bytes("2"), 1, "{\"min_peers\": 0}", NULL)), 0);
    expect_value(alone, "/app/x", "2");
    EQUAL(GOOD(p2p_dht_set(alone, "x", bytes("3"), 1, "{\"min_peers\": 0}", NULL)), 0);
    expect_value(alone, "x", "3");
    ERROR(p2p_dht_provide(alone, "/x", NULL), P2P_E_PEERS);
    ERROR(p2p_dht_refresh(alone, NULL), P2P_E_PEERS);
    ERROR(p2p_dht_closest_peers(alone, "/app/x", &text, NULL), P2P_E_PEERS);
    GOOD(p2p_dht_search(alone, "/app/none", NULL, queue, 2, &search));
    wait_event(queue, P2P_EVENT_CLOSED, t);
    EQUAL(t->event.status, P2P_E_PEERS);
    EQUAL(t->event.subject, search);
    GOOD(p2p_info(search, &text));
    CONTAINS(text, "\"running\":false");
    p2p_free(text);
    GOOD(p2p_close(search));
    ERROR(p2p_info(search, &text), P2P_E_HANDLE);
    GOOD(p2p_close(off));
    GOOD(p2p_close(alone));
    GOOD(p2p_close(queue));
    free(t);
}

#define IS_NULL(call, parameter)                                                            \
    do {                                                                                    \
        ERROR(call, P2P_E_INVALID);                                                         \
        CONTAINS(p2p_last_error(), parameter);                                              \
    } while (0)

TEST(dht_null__names_the_parameter)
{
    p2p_handle node = new_node(NULL, SERVER), queue = new_queue(), search;
    const p2p_call brief = within(50);
    char *text;
    uint8_t *data;
    size_t len;
    IS_NULL(p2p_dht_bootstrap(node, -1, &brief), "min_peers");
    IS_NULL(p2p_dht_put(node, NULL, bytes("x"), 1, NULL, &brief), "key");
    IS_NULL(p2p_dht_put(node, "/app/x", NULL, 1, NULL, &brief), "data");
    IS_NULL(p2p_dht_get(node, NULL, NULL, &data, &len, &brief), "key");
    IS_NULL(p2p_dht_get(node, "x", NULL, NULL, &len, &brief), "data_out");
    IS_NULL(p2p_dht_get(node, "x", NULL, &data, NULL, &brief), "len_out");
    IS_NULL(p2p_dht_search(node, NULL, NULL, queue, 0, &search), "key");
    IS_NULL(p2p_dht_search(node, "x", NULL, queue, 0, NULL), "search_out");
    IS_NULL(p2p_dht_search(node, "x", NULL, 0, 0, &search), "queue");
    IS_NULL(p2p_dht_set(node, NULL, bytes("x"), 1, NULL, &brief), "name");
    IS_NULL(p2p_dht_set(node, "x", NULL, 1, NULL, &brief), "data");
    IS_NULL(p2p_dht_unset(node, NULL, &brief), "name");
    IS_NULL(p2p_dht_provide(node, NULL, &brief), "key");
    IS_NULL(p2p_dht_provide_start(node, NULL, &brief), "keys");
    IS_NULL(p2p_dht_provide_start(node, "\n", &brief), "keys");
    IS_NULL(p2p_dht_provide_stop(node, NULL, &brief), "keys");
    IS_NULL(p2p_dht_find_providers(node, NULL, NULL, queue, 0, &search), "key");
    IS_NULL(p2p_dht_find_providers(node, "/x", NULL, 0, 0, &search), "queue");
    IS_NULL(p2p_dht_find_providers(node, "/x", NULL, queue, 0, NULL), "search_out");
    IS_NULL(p2p_dht_find_peer(node, NULL, &text, &brief), "peer");
    IS_NULL(p2p_dht_find_peer(node, NOBODY, NULL, &brief), "addresses_out");
    IS_NULL(p2p_dht_closest_peers(node, NULL, &text, &brief), "key");
    IS_NULL(p2p_dht_closest_peers(node, "/x/y", NULL, &brief), "peers_out");
    IS_NULL(p2p_dht_mode(node, NULL), "mode");
    IS_NULL(p2p_dht_info(node, NULL), "json_out");
    ERROR(p2p_dht_put(node, "/app/x", bytes("x"), SIZE_MAX / 2, NULL, &brief), P2P_E_INVALID);
    ERROR(p2p_dht_info(queue, &text), P2P_E_KIND);
    GOOD(p2p_dht_find_providers(node, "/x", NULL, queue, 0, &search));
    ERROR(p2p_dht_info(search, &text), P2P_E_KIND);
    ERROR(p2p_stream_credit(search, 1), P2P_E_KIND);
    GOOD(p2p_close(search));
    EQUAL(p2p_close(search), 0);
    ERROR(p2p_info(search, &text), P2P_E_HANDLE);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
}

TEST(dht_cancel__ends_what_waits)
{
    p2p_handle node = new_node(NULL, SERVER), queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 8);
    EQUAL(p2p_dht_bootstrap(node, 1, &call), P2P_PENDING);
    EQUAL(p2p_cancel(node, 8), 1);
    DONE_ERROR(queue, 8, t, P2P_E_CANCELLED);
    EQUAL(p2p_cancel(node, 8), 0);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(dht_close__while_busy)
{
    struct network n = begin();
    const p2p_call call = on(n.queue, 8);
    p2p_handle search[8], lonely = new_node(NULL, SERVER);
    EQUAL(p2p_dht_bootstrap(lonely, 1, &call), P2P_PENDING);
    for (int i = 0; i < 8; i++) GOOD(p2p_dht_find_providers(n.node[i % SERVERS], "/x", NULL, n.queue, 1, &search[i]));
    for (int i = 0; i < 8; i++) EQUAL(p2p_dht_get(n.node[1], "/app/none", NULL, NULL, NULL, &call), P2P_PENDING);
    for (int i = 0; i < SERVERS; i++) GOOD(p2p_close(n.node[i]));
    GOOD(p2p_close(lonely));
    int done = 0, closed = 0;
    while (done < 9 || closed < 8) {
        next_event(n.queue, n.t);
        done += n.t->event.type == P2P_EVENT_DONE;
        closed += n.t->event.type == P2P_EVENT_CLOSED && (n.t->event.subject & 15) == P2P_KIND_SEARCH;
        if (n.t->event.type == P2P_EVENT_DONE) CHECK(n.t->event.status < 0);
    }
    for (int i = 0; i < 8; i++) EQUAL(p2p_close(search[i]), 0);
    GOOD(p2p_close(n.queue));
    free(n.t);
}

TEST(dht_cycles__give_everything_back)
{
    struct taken *t = malloc(sizeof *t);
    int64_t goroutines = 0;
    for (int i = 0; i < 6; i++) {
        struct pair pair = new_pair_with(TCP, SERVER);
        p2p_handle queue = new_queue(), search;
        GOOD(p2p_dht_bootstrap(pair.a, 1, NULL));
        GOOD(p2p_dht_set(pair.a, "x", bytes("y"), 1, NULL, NULL));
        GOOD(p2p_dht_provide_start(pair.a, "/x", NULL));
        GOOD(p2p_dht_search(pair.a, "x", NULL, queue, 0, &search));
        if (i % 2) wait_event(queue, P2P_EVENT_CLOSED, t);
        close_pair(&pair);
        GOOD(p2p_close(queue));
        if (i == 1) goroutines = runtime_number("goroutines");
    }
    EVENTUALLY(runtime_number("goroutines") <= goroutines);
    free(t);
}
