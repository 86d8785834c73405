/* Gating: rules for peers and networks, and a program that is asked. */
#include "support.h"

static char *rules_of(p2p_handle node)
{
    char *json;
    GOOD(p2p_gate_list(node, &json));
    return json;
}

/* Fails unless a's rules refuse a connection to address, and name the rule. */
static void must_refuse(p2p_handle a, const char *address, const char *rule)
{
    ERROR(p2p_peer_connect(a, address, NULL, NULL), P2P_E_REFUSED);
    CONTAINS(p2p_last_error(), rule);
}

TEST_OVER(gate_block__closes_and_refuses_and_names_the_rule)
{
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    p2p_handle a = new_node(over, NULL), b = new_node_on(queue, over, NULL);
    char a_id[128], b_id[128], a_address[256], b_address[256], *json;
    copy_id(a, a_id);
    copy_id(b, b_id);
    first_address(a, a_address);
    first_address(b, b_address);
    GOOD(p2p_peer_connect(a, b_address, NULL, NULL));
    wait_event(queue, P2P_EVENT_PEER_CONNECTED, t);
    GOOD(p2p_gate_block(a, b_id));
    wait_event(queue, P2P_EVENT_PEER_DISCONNECTED, t);
    must_refuse(a, b_address, b_id);
    EQUAL(p2p_peer_connect(b, a_address, NULL, NULL), P2P_E_REFUSED); /* from the other side, too */
    json = rules_of(a);
    CONTAINS(json, b_id);
    CHECK(number_in(json, "dials_refused") >= 1 && number_in(json, "connections_refused") >= 1);
    p2p_free(json);
    GOOD(p2p_gate_remove(a, b_id));
    ERROR(p2p_gate_remove(a, b_id), P2P_E_NOT_FOUND);
    GOOD(p2p_gate_block(a, "10.0.0.0/8\n127.0.0.0/8"));
    must_refuse(a, b_address, "127.0.0.0/8");
    GOOD(p2p_gate_allow(a, b_id)); /* more exact */
    GOOD(p2p_peer_connect(a, b_address, NULL, NULL));
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(gate_default__and_the_lists_of_the_config)
{
    p2p_handle a = new_node(TCP, "\"gating\": {\"default\": \"block\", \"allow\": [\"192.0.2.0/24\"]}"), b = new_node(TCP, NULL);
    char address[256];
    first_address(b, address);
    must_refuse(a, address, "gating.default");
    char *json = rules_of(a);
    CONTAINS(json, "\"default\":\"block\"");
    CONTAINS(json, "192.0.2.0/24");
    p2p_free(json);
    GOOD(p2p_gate_default(a, "allow"));
    GOOD(p2p_peer_connect(a, address, NULL, NULL));
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
}

TEST_OVER(gate_ask__the_verdict_holds)
{
    p2p_handle queue = new_queue(), service, second, b = new_node(over, NULL), a = new_node(over, NULL);
    struct taken *t = malloc(sizeof *t);
    char a_id[128], b_id[128], a_address[256], b_address[256];
    const p2p_call call = on(queue, 9);
    const int verdicts[] = {P2P_VERDICT_REJECT, P2P_VERDICT_IGNORE, P2P_VERDICT_ACCEPT};
    copy_id(a, a_id);
    copy_id(b, b_id);
    first_address(a, a_address);
    first_address(b, b_address);
    GOOD(p2p_gate_ask(a, "{\"timeout_ms\": 10000}", queue, 5, &service));
    EQUAL(p2p_kind(service), P2P_KIND_SERVICE);
    ERROR(p2p_gate_ask(a, NULL, queue, 5, &second), P2P_E_EXISTS);
    for (int i = 0; i < 3; i++) { /* a dial */
        EQUAL(p2p_peer_connect(a, b_address, NULL, &call), P2P_PENDING);
        wait_event(queue, P2P_EVENT_GATE, t);
        EQUAL(t->event.tag, 5);
        EQUAL(t->event.subject, service);
        EQUAL(t->event.flags, 0);
        EQUAL_TEXT(line_of(t, 0), b_id);
        EQUAL_TEXT(line_of(t, 1), "");
        EQUAL_TEXT(line_of(t, 2), "dial");
        GOOD(p2p_answer(t->event.object, verdicts[i]));
        if (verdicts[i] == P2P_VERDICT_ACCEPT)
            DONE_GOOD(queue, 9, t);
        else
            DONE_ERROR(queue, 9, t, P2P_E_REFUSED);
    }
    GOOD(p2p_peer_disconnect(a, b_id));
    p2p_handle c = new_node(NULL, NULL);
    char c_id[128];
    copy_id(c, c_id);
    for (int i = 1; i < 3; i++) { /* an inbound connection */
        EQUAL(p2p_peer_connect(c, a_address, NULL, &call), P2P_PENDING);
        wait_event(queue, P2P_EVENT_GATE, t);
        EQUAL(t->event.flags, P2P_FLAG_INBOUND);
        EQUAL_TEXT(line_of(t, 0), c_id);
        CONTAINS(line_of(t, 1), "/ip4/127.0.0.1/");
        EQUAL_TEXT(line_of(t, 2), "connection");
        const uint64_t token = t->event.object;
        GOOD(p2p_answer(token, verdicts[i]));
        ERROR(p2p_answer(token, P2P_VERDICT_ACCEPT), P2P_E_HANDLE);
        if (verdicts[i] == P2P_VERDICT_ACCEPT)
            DONE_GOOD(queue, 9, t);
        else
            DONE_ERROR(queue, 9, t, P2P_E_REFUSED);
    }
    GOOD(p2p_close(service));
    wait_event(queue, P2P_EVENT_CLOSED, t);
    GOOD(p2p_peer_connect(a, b_address, NULL, NULL)); /* nobody is asked any more */
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(c));
    GOOD(p2p_close(queue));
    EQUAL(p2p_live_handles(P2P_KIND_TOKEN), 0);
    free(t);
}

TEST(gate_ask__late_is_the_default_and_the_token_is_gone)
{
    p2p_handle queue = new_queue(), service, a = new_node(TCP, NULL), b = new_node(TCP, NULL);
    struct taken *t = malloc(sizeof *t);
    char address[256], *json;
    first_address(b, address);
    GOOD(p2p_gate_ask(a, "{\"timeout_ms\": 20}", queue, 0, &service));
    must_refuse(a, address, "no verdict within 20ms");
    wait_event(queue, P2P_EVENT_GATE, t);
    for (int i = 0; i < limit_ms() / 5 && p2p_live_handles(P2P_KIND_TOKEN) > 0; i++) usleep(5000);
    ERROR(p2p_answer(t->event.object, P2P_VERDICT_ACCEPT), P2P_E_HANDLE);
    GOOD(p2p_info(service, &json));
    EQUAL(number_in(json, "late"), 1);
    p2p_free(json);
    ERROR(p2p_gate_ask(b, NULL, 0, 0, &service), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "queue");
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(gate_ask__closing_the_node_ends_a_dial_that_waits)
{
    p2p_handle queue = new_queue(), service, a = new_node(TCP, NULL), b = new_node(TCP, NULL);
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 9);
    char address[256];
    first_address(b, address);
    GOOD(p2p_gate_ask(a, "{\"timeout_ms\": 10000}", queue, 0, &service));
    EQUAL(p2p_peer_connect(a, address, NULL, &call), P2P_PENDING);
    wait_event(queue, P2P_EVENT_GATE, t);
    const int64_t began = now_ms();
    GOOD(p2p_close(a));
    CHECK(now_ms() - began < 8000);
    CHECK(wait_done(queue, 9, t) < 0);
    GOOD(p2p_close(b));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(gate__cycles_leave_nothing)
{
    p2p_handle queue = new_queue(), node = new_node(TCP, NULL), service;
    const int64_t handles = p2p_live_handles(0), goroutines = runtime_number("goroutines");
    for (int i = 0; i < 200; i++) {
        GOOD(p2p_gate_ask(node, NULL, queue, 0, &service));
        GOOD(p2p_gate_block(node, "10.0.0.1"));
        GOOD(p2p_gate_remove(node, "10.0.0.1"));
        GOOD(p2p_close(service));
    }
    EQUAL(p2p_live_handles(0), handles);
    for (int i = 0; i < limit_ms() / 5 && runtime_number("goroutines") > goroutines; i++) usleep(5000);
    CHECK(runtime_number("goroutines") <= goroutines);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
}
