/* Which connections stay when there are too many, and what limits there are. */
#include "support.h"

#define OTHERS 4

/* A hub connected to OTHERS nodes, in this order. */
struct hub {
    p2p_handle node, other[OTHERS];
    char id[OTHERS][128];
};

static struct hub new_hub(const char *options)
{
    struct hub hub = {.node = new_node(TCP, options)};
    for (int i = 0; i < OTHERS; i++) {
        char address[256];
        hub.other[i] = new_node(TCP, NULL);
        copy_id(hub.other[i], hub.id[i]);
        first_address(hub.other[i], address);
        GOOD(p2p_peer_connect(hub.node, address, NULL, NULL));
    }
    return hub;
}

static void close_hub(struct hub *hub)
{
    GOOD(p2p_close(hub->node));
    for (int i = 0; i < OTHERS; i++) GOOD(p2p_close(hub->other[i]));
}

/* Waits until the hub is connected to the others whose bit is set, and to no more. */
static void await_connected(const struct hub *hub, unsigned wanted)
{
    unsigned there = 0;
    for (int i = 0; i < limit_ms() / 5; i++) {
        char *peers;
        GOOD(p2p_peer_list(hub->node, &peers));
        there = 0;
        for (int k = 0; k < OTHERS; k++) there |= (strstr(peers, hub->id[k]) != NULL) << k;
        p2p_free(peers);
        if (there == wanted) return;
        usleep(5000);
    }
    FAIL("connected to %x, not %x", there, wanted);
}

TEST(peer_tag__is_seen_and_outlasts_the_connection)
{
    struct pair pair = new_pair(TCP);
    char *json;
    GOOD(p2p_peer_tag(pair.a, pair.b_id, "friend", 7));
    GOOD(p2p_peer_protect(pair.a, pair.b_id, "mine"));
    GOOD(p2p_peer_disconnect(pair.a, pair.b_id));
    GOOD(p2p_peer_info(pair.a, pair.b_id, &json));
    CONTAINS(json, "\"friend\":7");
    CONTAINS(json, "\"protected\":[\"mine\"]");
    p2p_free(json);
    GOOD(p2p_peer_protect(pair.a, pair.b_id, "yours"));
    EQUAL(p2p_peer_unprotect(pair.a, pair.b_id, "mine"), 1);
    EQUAL(p2p_peer_unprotect(pair.a, pair.b_id, "yours"), 0);
    ERROR(p2p_peer_unprotect(pair.a, pair.b_id, "yours"), P2P_E_NOT_FOUND);
    GOOD(p2p_peer_untag(pair.a, pair.b_id, "friend"));
    ERROR(p2p_peer_untag(pair.a, pair.b_id, "friend"), P2P_E_NOT_FOUND);
    close_pair(&pair);
}

TEST(peer_trim__closes_the_least_useful)
{
    struct hub hub = new_hub("\"connections\": {\"grace_ms\": 0}");
    const int values[OTHERS] = {30, 10, 40, 20};
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 3);
    for (int i = 0; i < OTHERS; i++) GOOD(p2p_peer_tag(hub.node, hub.id[i], "value", values[i]));
    GOOD(p2p_peer_protect(hub.node, hub.id[1], "mine"));
    EQUAL(p2p_peer_trim(hub.node, -1, NULL), 0); /* fewer than the low watermark */
    EQUAL(p2p_peer_trim(hub.node, 3, NULL), 1);
    await_connected(&hub, 1 | 2 | 4);
    EQUAL(p2p_peer_trim(hub.node, 1, &call), P2P_PENDING);
    DONE_GOOD(queue, 3, t);
    EQUAL(t->event.value, 2);
    await_connected(&hub, 2);
    GOOD(p2p_close(queue));
    close_hub(&hub);
    free(t);
}

TEST(node_watermarks__are_changed_while_it_runs)
{
    struct hub hub = new_hub(NULL);
    char *json;
    ERROR(p2p_node_watermarks(hub.node, 200, -1, -1), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "192");
    GOOD(p2p_peer_tag(hub.node, hub.id[2], "value", 1));
    GOOD(p2p_node_watermarks(hub.node, 1, 2, 0));
    await_connected(&hub, 4);
    GOOD(p2p_limits_info(hub.node, &json));
    CONTAINS(json, "\"watermarks\":{\"low\":1,\"high\":2,\"grace_ms\":0}");
    p2p_free(json);
    close_hub(&hub);
}

TEST(limits__exact_ones_hold_and_are_told)
{
    struct pair pair = new_pair_with(TCP, "\"limits\": {\"exact\": {\"Protocol\": {\"/test/1.0.0\": {\"Streams\": 2}}, \"System\": {\"Conns\": 77}}}");
    p2p_handle queue = new_queue(), service, stream[3];
    char *json;
    GOOD(p2p_limits_info(pair.b, &json));
    CONTAINS(json, "\"Conns\":77");
    CONTAINS(json, pair.a_id);
    EQUAL(number_in(json, "stream"), 0);
    p2p_free(json);
    GOOD(p2p_stream_serve(pair.b, "/test/1.0.0", NULL, queue, 0, &service));
    int failed = 0;
    for (int i = 0; i < 3; i++) {
        uint8_t byte;
        const p2p_call soon = within(2000);
        if (p2p_stream_open(pair.a, pair.b_id, "/test/1.0.0", NULL, &stream[i], &soon) < 0) {
            EQUAL(i, 2);
            CHECK(++failed);
            CONTAINS(p2p_last_error(), "limit");
        } else if (i == 2) {
            CHECK(p2p_stream_read(stream[i], &byte, 1, &soon) < 0);
            failed++;
        }
    }
    EQUAL(failed, 1);
    close_pair(&pair);
    GOOD(p2p_close(queue));
}
