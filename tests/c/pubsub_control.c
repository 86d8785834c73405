/* Pubsub control: batches, scores, blocked and direct peers, traces, routers. */
#include "support.h"

#define FAST "\"pubsub\": {\"heartbeat_ms\": 100}"
#define SCORED "\"pubsub\": {\"heartbeat_ms\": 100, \"score\": {\"enabled\": true, \"inspect_ms\": 100}}"

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

struct group {
    struct pair pair;
    p2p_handle queue, nodes, a, b, subscription; /* messages at b; a's own events; topics */
    struct taken *t;
};

/* Both join, b subscribes, a has seen it. */
static struct group begin(const char *config, const char *options_b)
{
    struct group g = {.queue = new_queue(), .nodes = new_queue(), .t = malloc(sizeof(struct taken))};
    p2p_handle seen = new_queue();
    g.pair.a = new_node_on(g.nodes, NULL, config);
    g.pair.b = new_node_on(g.nodes, TCP, config);
    copy_id(g.pair.a, g.pair.a_id);
    copy_id(g.pair.b, g.pair.b_id);
    first_address(g.pair.b, g.pair.b_address);
    GOOD(p2p_peer_connect(g.pair.a, g.pair.b_address, NULL, NULL));
    GOOD(p2p_topic_join(g.pair.a, "news", NULL, seen, 1, &g.a));
    GOOD(p2p_topic_join(g.pair.b, "news", options_b, 0, 0, &g.b));
    GOOD(p2p_topic_subscribe(g.b, NULL, g.queue, 4, &g.subscription));
    wait_event(seen, P2P_EVENT_TOPIC_JOINED, g.t);
    GOOD(p2p_close(seen));
    return g;
}

static void finish(struct group *g)
{
    close_pair(&g->pair);
    GOOD(p2p_close(g->queue));
    GOOD(p2p_close(g->nodes));
    free(g->t);
}

static void expect(struct group *g, const char *text)
{
    wait_event(g->queue, P2P_EVENT_MESSAGE, g->t);
    if (g->t->len != strlen(text) || memcmp(g->t->data, text, g->t->len) != 0) FAIL("\"%.*s\" came, not \"%s\"", (int)g->t->len, g->t->data, text);
}

/* Whether p2p_pubsub_info's JSON has a text. */
static int told(p2p_handle node, const char *text)
{
    char *json;
    GOOD(p2p_pubsub_info(node, &json));
    const int found = strstr(json, text) != NULL;
    p2p_free(json);
    return found;
}

TEST(publish_batch__sends_many_and_tells_of_each)
{
    struct group g = begin("\"pubsub\": {\"signing\": \"none\"}", NULL);
    int results[4] = {-1, -1, -1, -1};
    EQUAL(GOOD(p2p_topic_publish_batch(g.a, bytes("\003one\003two\000\005three"), 15, 1, results, NULL)), 4);
    for (int i = 0; i < 4; i++) EQUAL(results[i], 1);
    expect(&g, "one");
    expect(&g, "two");
    expect(&g, "");
    expect(&g, "three");
    EQUAL(p2p_topic_publish_batch(g.a, NULL, 0, 0, NULL, NULL), 0);
    ERROR(p2p_topic_publish_batch(g.a, bytes("\003one\003tw"), 7, 0, NULL, NULL), P2P_E_PARSE);
    ERROR(p2p_topic_publish_batch(g.a, bytes("\003one"), 4, -1, NULL, NULL), P2P_E_INVALID);
    ERROR(p2p_topic_publish_batch(g.pair.a, bytes("\003one"), 4, 0, NULL, NULL), P2P_E_KIND);
    finish(&g);
}

TEST(publish_batch__completes_with_the_fate_of_each)
{
    struct group g = begin("\"pubsub\": {\"signing\": \"none\", \"max_message_size\": 100}", NULL);
    static uint8_t data[256] = "\002ab\xc8\001";
    int results[3];
    const p2p_call call = on(g.nodes, 9);
    memcpy(data + 5 + 200, "\002cd", 3);
    EQUAL(p2p_topic_publish_batch(g.a, data, 5 + 200 + 3, 1, NULL, &call), P2P_PENDING);
    DONE_GOOD(g.nodes, 9, g.t);
    EQUAL(g.t->event.value, 2);
    EQUAL(g.t->len, sizeof results);
    memcpy(results, g.t->data, sizeof results);
    EQUAL(results[0], 1);
    EQUAL(results[1], P2P_E_TOO_BIG);
    EQUAL(results[2], 1);
    CHECK(strncmp(g.t->text, "1: ", 3) == 0 && strstr(g.t->text, "200"));
    expect(&g, "ab");
    expect(&g, "cd");
    finish(&g);
}

TEST(publish_batch__is_cancelled_and_closed_while_it_waits)
{
    p2p_handle node = new_node(NULL, NULL), queue = new_queue(), topic;
    struct taken *t = malloc(sizeof *t);
    int result;
    p2p_call call = on(queue, 1);
    GOOD(p2p_topic_join(node, "lonely", NULL, 0, 0, &topic));
    EQUAL(p2p_topic_publish_batch(topic, bytes("\001x"), 2, 1, NULL, &call), P2P_PENDING);
    EQUAL(p2p_cancel(topic, 1), 1);
    DONE_GOOD(queue, 1, t);
    memcpy(&result, t->data, sizeof result);
    EQUAL(result, P2P_E_CANCELLED);
    call = on(queue, 2);
    EQUAL(p2p_topic_publish_batch(topic, bytes("\001x"), 2, 1, NULL, &call), P2P_PENDING);
    GOOD(p2p_close(node));
    DONE_GOOD(queue, 2, t);
    memcpy(&result, t->data, sizeof result);
    EQUAL(result, P2P_E_CLOSED);
    ERROR(p2p_topic_publish_batch(topic, bytes("\001x"), 2, 0, NULL, NULL), P2P_E_HANDLE);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(score__a_flood_of_invalid_messages_is_cut_off)
{
    struct group g = begin(SCORED, "{\"max_size\": 10}");
    char words[64];
    GOOD(p2p_topic_publish(g.a, bytes("well"), 4, 1, NULL));
    expect(&g, "well");
    for (int i = 0; i < 50; i++) {
        snprintf(words, sizeof words, "much too long %d", i);
        GOOD(p2p_topic_publish(g.a, bytes(words), strlen(words), 1, NULL));
    }
    wait_event(g.nodes, P2P_EVENT_PEER_GRAYLISTED, g.t);
    EQUAL(g.t->event.subject, g.pair.b);
    EQUAL_TEXT(g.t->text, g.pair.a_id);
    CHECK(g.t->event.value < -100);
    CHECK(told(g.pair.b, "\"graylisted\":true"));
    GOOD(p2p_topic_publish(g.a, bytes("not heard"), 9, 0, NULL));
    no_event(g.queue, 200);
    GOOD(p2p_topic_score_set(g.b, "{\"invalid_messages_weight\": 0}"));
    wait_event(g.nodes, P2P_EVENT_PEER_PARDONED, g.t);
    EQUAL_TEXT(g.t->text, g.pair.a_id);
    GOOD(p2p_topic_publish(g.a, bytes("heard"), 5, 0, NULL));
    expect(&g, "heard");
    finish(&g);
}

TEST(score__of_the_program)
{
    struct group g = begin(SCORED, NULL);
    GOOD(p2p_pubsub_score_set(g.pair.b, g.pair.a_id, -500));
    wait_event(g.nodes, P2P_EVENT_PEER_GRAYLISTED, g.t);
    GOOD(p2p_pubsub_score_set(g.pair.b, g.pair.a_id, 0));
    wait_event(g.nodes, P2P_EVENT_PEER_PARDONED, g.t);
    finish(&g);
}

TEST(block__and_unblock_over_the_same_connection)
{
    struct group g = begin(FAST, NULL);
    char quoted[160], *peers;
    snprintf(quoted, sizeof quoted, "\"blocked\":[\"%s\"]", g.pair.a_id);
    GOOD(p2p_pubsub_block(g.pair.b, g.pair.a_id));
    GOOD(p2p_pubsub_block(g.pair.b, g.pair.a_id));
    CHECK(told(g.pair.b, quoted));
    EVENTUALLY((GOOD(p2p_topic_peers(g.a, &peers)), !*peers) ? (p2p_free(peers), 1) : (p2p_free(peers), 0));
    GOOD(p2p_pubsub_unblock(g.pair.b, g.pair.a_id));
    ERROR(p2p_pubsub_unblock(g.pair.b, g.pair.a_id), P2P_E_NOT_FOUND);
    EQUAL(GOOD(p2p_topic_publish(g.a, bytes("back"), 4, 1, NULL)), 1);
    expect(&g, "back");
    ERROR(p2p_pubsub_block(g.pair.b, g.pair.b_id), P2P_E_INVALID);
    finish(&g);
}

TEST(direct_peer__is_told_everything)
{
    struct group g = begin(FAST, NULL);
    GOOD(p2p_pubsub_direct_add(g.pair.a, g.pair.b_address));
    GOOD(p2p_pubsub_direct_add(g.pair.b, g.pair.a_id));
    CHECK(told(g.pair.a, "\"direct\":[\"12D3"));
    GOOD(p2p_topic_publish(g.a, bytes("x"), 1, 1, NULL));
    expect(&g, "x");
    GOOD(p2p_pubsub_direct_remove(g.pair.a, g.pair.b_id));
    ERROR(p2p_pubsub_direct_remove(g.pair.a, g.pair.b_id), P2P_E_NOT_FOUND);
    finish(&g);
}

TEST(trace__tells_what_happens_until_it_is_closed)
{
    struct group g = begin(FAST, NULL);
    p2p_handle queue = new_queue(), trace, filed;
    char name[] = "/tmp/p2p-trace-XXXXXX", options[128], line[512] = "";
    const int fd = mkstemp(name);
    CHECK(fd >= 0);
    close(fd);
    snprintf(options, sizeof options, "{\"file\": \"%s\", \"events\": [\"publish\"]}", name);
    GOOD(p2p_pubsub_trace(g.pair.a, options, 0, 0, &filed));
    GOOD(p2p_pubsub_trace(g.pair.a, "{\"events\": [\"publish\"], \"topics\": [\"news\"]}", queue, 3, &trace));
    EQUAL(p2p_kind(trace), P2P_KIND_SERVICE);
    GOOD(p2p_topic_publish(g.a, bytes("traced"), 6, 1, NULL));
    wait_event(queue, P2P_EVENT_PUBSUB_TRACE, g.t);
    EQUAL(g.t->event.subject, trace);
    EQUAL(g.t->event.tag, 3);
    EQUAL_TEXT(g.t->text, "publish");
    g.t->data[g.t->len] = 0;
    CONTAINS((const char *)g.t->data, "\"topic\":\"news\"");
    CONTAINS((const char *)g.t->data, "\"peers\":1");
    GOOD(p2p_close(trace));
    wait_event(queue, P2P_EVENT_CLOSED, g.t);
    GOOD(p2p_topic_publish(g.a, bytes("unseen"), 6, 1, NULL));
    no_event(queue, 50);
    EVENTUALLY(info_number(filed, "delivered") == 2);
    GOOD(p2p_close(filed));
    FILE *file = fopen(name, "r");
    CHECK(file && fgets(line, sizeof line, file));
    CONTAINS(line, "\"type\":\"publish\"");
    fclose(file);
    unlink(name);
    ERROR(p2p_pubsub_trace(g.pair.a, NULL, 0, 0, &trace), P2P_E_INVALID);
    GOOD(p2p_pubsub_trace(g.pair.a, NULL, queue, 4, &trace)); /* closes with its node */
    finish(&g);
    GOOD(p2p_close(queue));
}

TEST(router__without_a_mesh_carries_messages_too)
{
    const char *const routers[] = {"floodsub", "randomsub"};
    for (int i = 0; i < 2; i++) {
        char config[128];
        snprintf(config, sizeof config, "\"pubsub\": {\"router\": \"%s\", \"protocol_prefix\": \"/own\", \"signing\": \"none\"}", routers[i]);
        struct group g = begin(config, NULL);
        EQUAL(GOOD(p2p_topic_publish(g.a, bytes("x"), 1, 1, NULL)), 1);
        expect(&g, "x");
        CHECK(told(g.pair.a, routers[i]) && told(g.pair.a, "/own/"));
        finish(&g);
    }
}

TEST(pubsub_control__needs_pubsub)
{
    p2p_handle node = new_node(NULL, "\"pubsub\": {\"enabled\": false}"), queue = new_queue(), trace;
    char *json = (char *)"";
    ERROR(p2p_pubsub_info(node, &json), P2P_E_STATE);
    CHECK(json == NULL);
    ERROR(p2p_pubsub_block(node, NOBODY), P2P_E_STATE);
    ERROR(p2p_pubsub_unblock(node, NOBODY), P2P_E_STATE);
    ERROR(p2p_pubsub_score_set(node, NOBODY, 1), P2P_E_STATE);
    ERROR(p2p_pubsub_direct_add(node, NOWHERE), P2P_E_STATE);
    ERROR(p2p_pubsub_direct_remove(node, NOBODY), P2P_E_STATE);
    ERROR(p2p_pubsub_trace(node, NULL, queue, 0, &trace), P2P_E_STATE);
    GOOD(p2p_close(node));
    ERROR(p2p_pubsub_info(node, &json), P2P_E_HANDLE);
    GOOD(p2p_close(queue));
}

TEST(pubsub_cycles__give_everything_back)
{
    int64_t before = 0;
    for (int i = 0; i < 12; i++) {
        struct group g = begin(SCORED, "{\"relay\": true}");
        p2p_handle trace;
        GOOD(p2p_pubsub_trace(g.pair.a, NULL, g.nodes, 3, &trace));
        GOOD(p2p_topic_publish_batch(g.a, bytes("\001x\001y"), 4, 1, NULL, NULL));
        GOOD(p2p_pubsub_block(g.pair.b, g.pair.a_id));
        GOOD(p2p_pubsub_unblock(g.pair.b, g.pair.a_id));
        finish(&g);
        if (i == 1) before = runtime_number("goroutines");
    }
    EVENTUALLY(runtime_number("goroutines") <= before);
}
