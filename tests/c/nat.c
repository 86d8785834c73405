/* Reachability, reservations with relays, the relay service and its rules. */
#include "support.h"

#define SERVICE "\"relay\": {\"service\": {\"enabled\": true, \"when\": \"always\"}}"

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static p2p_handle new_relay(char address[256])
{
    p2p_handle relay = new_node(TCP, SERVICE);
    first_address(relay, address);
    return relay;
}

static int has_address(p2p_handle node, const char *address)
{
    char *addresses;
    GOOD(p2p_node_addresses(node, &addresses));
    const int found = strstr(addresses, address) != NULL;
    p2p_free(addresses);
    return found;
}

static int relay_info_has(p2p_handle node, const char *what)
{
    char *json;
    GOOD(p2p_relay_info(node, &json));
    const int has = strstr(json, what) != NULL;
    p2p_free(json);
    return has;
}

TEST(relay_reserve__makes_a_node_reachable_until_closed)
{
    char at[256], relay_id[128], b_id[128], want[640], *relayed, *state;
    p2p_handle queue = new_queue(), own = new_queue(), relay = new_relay(at), b = new_node_on(queue, NULL, NULL), a = new_node(NULL, NULL);
    p2p_handle reservation, service, parent;
    struct taken *t = malloc(sizeof *t);
    copy_id(relay, relay_id);
    copy_id(b, b_id);
    snprintf(want, sizeof want, "%s/p2p-circuit/p2p/%s", at, b_id);

    GOOD(p2p_relay_reserve(b, at, own, 7, &reservation, &relayed, NULL));
    EQUAL_TEXT(relayed, want);
    CHECK(has_address(b, want));
    EQUAL(p2p_kind(reservation), P2P_KIND_RESERVATION);
    EQUAL(p2p_live_handles(P2P_KIND_RESERVATION), 1);
    GOOD(p2p_parent(reservation, &parent));
    EQUAL(parent, b);
    CHECK(info_number(reservation, "expires_ms") > 0);

    wait_event(own, P2P_EVENT_RESERVATION, t);
    EQUAL(t->event.subject, reservation);
    EQUAL(t->event.tag, 7);
    EQUAL(t->event.status, 0);
    CHECK(t->event.value > 0);
    EQUAL_TEXT(line_of(t, 0), relay_id);
    EQUAL_TEXT(line_of(t, 1), "made");
    EQUAL_TEXT(line_of(t, 2), want);
    wait_event(queue, P2P_EVENT_RESERVATION, t);
    EQUAL(t->event.subject, b);
    EQUAL_TEXT(line_of(t, 1), "made");
    GOOD(p2p_nat_wait(b, "relayed", &state, NULL));
    EQUAL_TEXT(state, "unknown");
    p2p_free(state);

    p2p_handle stream, again;
    GOOD(p2p_peer_connect(a, relayed, NULL, NULL));
    GOOD(p2p_stream_serve(b, "/x/1", NULL, own, 8, &service));
    ERROR(p2p_stream_open(a, b_id, "/x/1", NULL, &stream, NULL), P2P_E_LIMITED);
    GOOD(p2p_stream_open(a, b_id, "/x/1", "{\"allow_limited\": true}", &stream, NULL));
    GOOD(p2p_stream_write(stream, bytes("x"), 1, NULL));
    wait_event(own, P2P_EVENT_STREAM, t);
    CHECK((t->event.flags & P2P_FLAG_RELAYED) && (t->event.flags & P2P_FLAG_LIMITED));
    CHECK(relay_info_has(relay, "\"circuits\":1"));
    CHECK(relay_info_has(relay, b_id));
    ERROR(p2p_relay_reserve(b, at, 0, 0, &again, NULL, NULL), P2P_E_EXISTS);
    ERROR(p2p_relay_reserve(b, want, 0, 0, &again, NULL, NULL), P2P_E_INVALID);

    GOOD(p2p_close(reservation));
    wait_event(own, P2P_EVENT_CLOSED, t);
    EQUAL(t->event.status, 0);
    CHECK(!has_address(b, "p2p-circuit"));
    ERROR(p2p_info(reservation, &state), P2P_E_HANDLE);
    CONTAINS(p2p_last_error(), "reservation");
    GOOD(p2p_close(reservation));
    p2p_free(relayed);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(relay));
    GOOD(p2p_close(queue));
    GOOD(p2p_close(own));
    free(t);
}

TEST(relay_reserve__completes_on_a_queue_and_is_lost_with_the_relay)
{
    char at[256];
    p2p_handle queue = new_queue(), relay = new_relay(at), b = new_node(NULL, NULL);
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 3);
    EQUAL(p2p_relay_reserve(b, at, queue, 4, NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 3, t);
    const p2p_handle reservation = t->event.object;
    EQUAL(t->event.subject, b);
    CONTAINS(t->text, "/p2p-circuit/p2p/");
    wait_event(queue, P2P_EVENT_RESERVATION, t);
    EQUAL(t->event.tag, 4);
    GOOD(p2p_close(relay));
    wait_event(queue, P2P_EVENT_RESERVATION, t);
    EQUAL_TEXT(line_of(t, 1), "lost");
    EQUAL(t->event.status, P2P_E_DIAL);
    CONTAINS(t->text, "ended");
    CHECK(t->event.object > 0);
    CHECK(!has_address(b, "p2p-circuit"));
    GOOD(p2p_close(b)); /* takes the reservation along */
    wait_event(queue, P2P_EVENT_CLOSED, t);
    EQUAL(t->event.subject, reservation);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(relay_reserve__ends_with_cancel_time_and_close)
{
    char hanging[256], at[256];
    const int fd = hanging_listener(hanging);
    p2p_handle queue = new_queue(), relay = new_relay(at), b = new_node(NULL, NULL), reservation, service;
    struct taken *t = malloc(sizeof *t);
    const p2p_call brief = within(100);
    p2p_call call = on(queue, 1);
    ERROR(p2p_relay_reserve(b, hanging, 0, 0, &reservation, NULL, &brief), P2P_E_TIMEOUT);
    EQUAL(reservation, 0);
    EQUAL(p2p_relay_reserve(b, hanging, 0, 0, NULL, NULL, &call), P2P_PENDING);
    EQUAL(p2p_cancel(b, 1), 1);
    DONE_ERROR(queue, 1, t, P2P_E_CANCELLED);
    for (int us = 0; us < 20000; us = us * 2 + 100) { /* at any moment; what was made is closed by whoever cancelled */
        call.tag = 2;
        EQUAL(p2p_relay_reserve(b, at, 0, 0, NULL, NULL, &call), P2P_PENDING);
        usleep((useconds_t)us);
        p2p_cancel(b, 2);
        if (wait_done(queue, 2, t) >= 0) GOOD(p2p_close(t->event.object));
    }
    EQUAL(p2p_live_handles(P2P_KIND_RESERVATION), 0);
    /* One that takes the question and never answers. */
    p2p_handle silent = new_node(TCP, NULL);
    GOOD(p2p_stream_serve(silent, "/libp2p/circuit/relay/0.2.0/hop", NULL, queue, 9, &service));
    char deaf[256];
    first_address(silent, deaf);
    const p2p_call short_call = within(300);
    ERROR(p2p_relay_reserve(b, deaf, 0, 0, &reservation, NULL, &short_call), P2P_E_TIMEOUT);
    call.tag = 5;
    EQUAL(p2p_relay_reserve(b, deaf, 0, 0, NULL, NULL, &call), P2P_PENDING);
    call.tag = 6;
    EQUAL(p2p_nat_wait(b, "public", NULL, &call), P2P_PENDING);
    GOOD(p2p_close(b));
    DONE_ERROR(queue, 5, t, P2P_E_CLOSED);
    DONE_ERROR(queue, 6, t, P2P_E_CLOSED);
    GOOD(p2p_close(silent));
    GOOD(p2p_close(relay));
    GOOD(p2p_close(queue));
    close(fd);
    free(t);
}

TEST(relay_rules__change_who_may_reserve)
{
    char at[256], b_id[128];
    p2p_handle relay = new_relay(at), b = new_node(NULL, NULL), reservation;
    copy_id(b, b_id);
    GOOD(p2p_relay_deny(relay, b_id));
    ERROR(p2p_relay_reserve(b, at, 0, 0, &reservation, NULL, NULL), P2P_E_REFUSED);
    EVENTUALLY(relay_info_has(relay, "\"reservation_permission_denied\":1")); /* the relay counts when it has answered */
    GOOD(p2p_relay_forget(relay, b_id));
    GOOD(p2p_relay_allow(relay, "10.0.0.0/8"));
    ERROR(p2p_relay_reserve(b, at, 0, 0, &reservation, NULL, NULL), P2P_E_REFUSED);
    GOOD(p2p_relay_allow(relay, "127.0.0.1\n192.168.0.0/16"));
    GOOD(p2p_relay_reserve(b, at, 0, 0, &reservation, NULL, NULL));
    CHECK(relay_info_has(relay, "\"allow\":[\"10.0.0.0/8\",\"127.0.0.1\",\"192.168.0.0/16\"]"));
    ERROR(p2p_relay_forget(relay, "127.0.0.2"), P2P_E_NOT_FOUND);
    ERROR(p2p_relay_deny(relay, "everybody"), P2P_E_PARSE);
    ERROR(p2p_relay_deny(relay, "\n"), P2P_E_INVALID);
    GOOD(p2p_close(b));
    GOOD(p2p_close(relay));
}

TEST(nat__forced_reachability_is_told_and_waited_for)
{
    p2p_handle queue = new_queue(), node = new_node_on(queue, NULL, "\"nat\": {\"reachability\": \"private\"}");
    struct taken *t = malloc(sizeof *t);
    const p2p_call brief = within(50);
    char *text;
    wait_event(queue, P2P_EVENT_REACHABILITY, t);
    EQUAL_TEXT(line_of(t, 0), "private");
    EQUAL_TEXT(line_of(t, 1), "option");
    GOOD(p2p_nat_wait(node, "known", &text, NULL));
    EQUAL_TEXT(text, "private");
    p2p_free(text);
    ERROR(p2p_nat_wait(node, NULL, NULL, &brief), P2P_E_TIMEOUT);
    GOOD(p2p_nat_info(node, &text));
    CONTAINS(text, "\"reachability\":\"private\"");
    CONTAINS(text, "\"nat_type\":{\"udp\":\"unknown\",\"tcp\":\"unknown\"}");
    p2p_free(text);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(hole_punch__without_a_public_address_is_told)
{
    char at[256], a_id[128], *relayed;
    p2p_handle queue = new_queue(), relay = new_relay(at), b = new_node_on(queue, NULL, NULL), a = new_node(NULL, NULL), reservation;
    struct taken *t = malloc(sizeof *t);
    copy_id(a, a_id);
    GOOD(p2p_relay_reserve(b, at, 0, 0, &reservation, &relayed, NULL));
    GOOD(p2p_peer_connect(a, relayed, NULL, NULL));
    wait_event(queue, P2P_EVENT_HOLE_PUNCH, t);
    EQUAL(t->event.status, P2P_E_DIAL);
    EQUAL(t->event.value, 0);
    EQUAL_TEXT(line_of(t, 0), a_id);
    EQUAL_TEXT(line_of(t, 1), "initiator");
    EQUAL_TEXT(line_of(t, 2), "gave_up");
    CONTAINS(t->text, "no public address");
    p2p_free(relayed);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(relay));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(reservation_cycles__give_everything_back)
{
    char at[256];
    p2p_handle relay = new_relay(at);
    int64_t goroutines = 0;
    for (int i = 0; i < 12; i++) {
        p2p_handle queue = new_queue(), b = new_node(NULL, NULL), reservation;
        for (int j = 0; j < 4; j++) {
            GOOD(p2p_relay_reserve(b, at, queue, 0, &reservation, NULL, NULL));
            if (j < 3) GOOD(p2p_close(reservation));
        }
        GOOD(p2p_close(b));
        GOOD(p2p_close(queue));
        EQUAL(p2p_live_handles(P2P_KIND_RESERVATION), 0);
        if (i == 2) goroutines = runtime_number("goroutines");
    }
    EVENTUALLY(runtime_number("goroutines") <= goroutines);
    GOOD(p2p_close(relay));
}
