/* Where a running node listens, and which addresses it tells. */
#include "support.h"

/* Waits until a node's addresses hold a text, or no longer do. */
static void await_address(p2p_handle node, const char *text, int there)
{
    for (int i = 0; i < limit_ms() / 5; i++) {
        char *addresses;
        GOOD(p2p_node_addresses(node, &addresses));
        const int found = strstr(addresses, text) != NULL;
        p2p_free(addresses);
        if (found == there) return;
        usleep(5000);
    }
    FAIL("%s: still %s", text, there ? "missing" : "there");
}

static void must_reach(const char *address, const char *id)
{
    p2p_handle other = new_node(NULL, NULL);
    char full[512];
    snprintf(full, sizeof full, "%s/p2p/%s", address, id);
    GOOD(p2p_peer_connect(other, full, NULL, NULL));
    GOOD(p2p_close(other));
}

TEST_OVER(node_listen__binds_more_and_unlisten_gives_back)
{
    p2p_handle queue = new_queue(), node = new_node_on(queue, NULL, NULL);
    struct taken *t = malloc(sizeof *t);
    char *bound, id[128];
    copy_id(node, id);
    GOOD(p2p_node_listen(node, over, &bound));
    CHECK(strstr(bound, "/0") == NULL);
    wait_event(queue, P2P_EVENT_ADDRESSES, t);
    CONTAINS(t->text, bound);
    must_reach(bound, id);
    GOOD(p2p_node_unlisten(node, bound));
    await_address(node, bound, 0);
    ERROR(p2p_node_unlisten(node, bound), P2P_E_NOT_FOUND);
    CONTAINS(p2p_last_error(), bound);
    p2p_free(bound);
    GOOD(p2p_node_listen(node, over, NULL)); /* without wanting to know where */
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(node_listen__all_or_none)
{
    p2p_handle first = new_node(TCP, NULL), node = new_node(NULL, NULL);
    char taken[256], both[512], *bound, *addresses;
    first_address(first, taken);
    *strstr(taken, "/p2p/") = '\0';
    snprintf(both, sizeof both, TCP "\n%s", taken);
    ERROR(p2p_node_listen(node, both, &bound), P2P_E_LISTEN);
    CONTAINS(p2p_last_error(), taken);
    CHECK(bound == NULL);
    await_address(node, "127.0.0.1", 0);
    GOOD(p2p_node_addresses(node, &addresses));
    EQUAL_TEXT(addresses, "");
    p2p_free(addresses);
    GOOD(p2p_close(first));
    GOOD(p2p_close(node));
}

TEST(node_announce__changes_what_is_told)
{
    p2p_handle node = new_node(TCP, "\"addresses\": {\"append\": [\"/ip4/203.0.113.7/tcp/1\"]}");
    char *json;
    await_address(node, "/ip4/203.0.113.7/tcp/1/p2p/", 1);
    GOOD(p2p_node_announce(node, "{\"hide\": [\"127.0.0.0/8\"]}"));
    await_address(node, "127.0.0.1", 0);
    GOOD(p2p_info(node, &json));
    CONTAINS(json, "\"hide\":[\"127.0.0.0/8\"]");
    p2p_free(json);
    GOOD(p2p_node_announce(node, "{\"announce\": [\"/dns4/a.example/tcp/443/wss\"], \"append\": []}"));
    await_address(node, "203.0.113.7", 0);
    await_address(node, "/dns4/a.example/tcp/443/wss/p2p/", 1);
    GOOD(p2p_node_announce(node, NULL)); /* changes nothing */
    await_address(node, "a.example", 1);
    GOOD(p2p_close(node));
}
