/* Diagnosis: why a peer can, or cannot, be reached. */
#include "support.h"

static void is_explained(p2p_handle node, const char *address, const char *options, const char *verdict)
{
    char *json, quoted[64];
    GOOD(p2p_peer_explain(node, address, options, &json, NULL));
    snprintf(quoted, sizeof quoted, "\"verdict\":\"%s\"", verdict);
    CONTAINS(json, quoted);
    p2p_free(json);
}

/* Another peer's id behind an address. */
static void put_nobody(char address[256]) { snprintf(strstr(address, "/p2p/"), 128, "/p2p/" NOBODY); }

TEST_OVER(explain__tells_who_can_be_reached)
{
    p2p_handle a = new_node(NULL, NULL), b = new_node(over, NULL);
    char address[256], id[128], *text;
    first_address(b, address);
    copy_id(a, id);
    is_explained(a, address, NULL, "reachable");
    is_explained(a, id, NULL, "self");
    GOOD(p2p_peer_explain(a, address, "{\"format\": \"text\"}", &text, NULL));
    CONTAINS(text, "[reachable]");
    p2p_free(text);
    is_explained(a, address, "{\"protocol\": \"/nothing/1\"}", "protocol_missing");
    put_nobody(address);
    is_explained(a, address, NULL, "wrong_peer");
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
}

TEST(explain__tells_why_a_peer_cannot_be_reached)
{
    p2p_handle a = new_node(NULL, NULL), quic = new_node(QUIC, NULL), deaf = new_node(NULL, "\"transports\": {\"quic\": false, \"webtransport\": false}");
    char address[256];
    is_explained(a, NOBODY, NULL, "no_address");
    is_explained(a, NOWHERE, NULL, "nobody_listens");
    const int fd = hanging_listener(address);
    is_explained(a, address, "{\"attempt_ms\": 500}", "stuck");
    close(fd);
    first_address(quic, address);
    is_explained(deaf, address, NULL, "transport_off");
    GOOD(p2p_close(a));
    GOOD(p2p_close(quic));
    GOOD(p2p_close(deaf));
}

TEST(explain__completes_on_a_queue_and_is_cancelled)
{
    p2p_handle a = new_node(NULL, NULL), queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    const p2p_call first = on(queue, 1), second = on(queue, 2), third = on(queue, 3);
    char address[256];
    EQUAL(p2p_peer_explain(a, NOWHERE, "{\"format\": \"text\"}", NULL, &first), P2P_PENDING);
    DONE_GOOD(queue, 1, t);
    CONTAINS(t->text, "[nobody_listens]");
    const int fd = hanging_listener(address);
    EQUAL(p2p_peer_explain(a, address, "{\"attempt_ms\": 60000}", NULL, &second), P2P_PENDING);
    EQUAL(p2p_cancel(a, 2), 1);
    DONE_ERROR(queue, 2, t, P2P_E_CANCELLED);
    EQUAL(p2p_peer_explain(a, address, "{\"attempt_ms\": 60000}", NULL, &third), P2P_PENDING);
    GOOD(p2p_close(a));
    DONE_ERROR(queue, 3, t, P2P_E_CLOSED);
    close(fd);
    GOOD(p2p_close(queue));
    free(t);
}
