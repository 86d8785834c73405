/* Rendezvous points, and peers that know a name and meet. */
#include "support.h"

#define POINT "\"rendezvous\": {\"server\": true, \"ttl_min_ms\": 1000}"
#define QUICKLY "{\"retry_min_ms\": 50, \"retry_max_ms\": 200, \"interval_ms\": 200}"

/* A node that uses the rendezvous point at `address`. */
static p2p_handle new_guest(const char *address)
{
    char options[512];
    snprintf(options, sizeof options, "\"rendezvous\": {\"points\": [\"%s\"]}", address);
    return new_node(TCP, options);
}

static int64_t registrations(p2p_handle point) { return info_number(point, "registrations"); }

TEST_OVER(rendezvous__register_discover_unregister)
{
    p2p_handle point = new_node(over, POINT), a = new_node(over, NULL), b = new_node(over, NULL), registration;
    char address[256], a_id[128], *json, options[256];
    first_address(point, address);
    copy_id(a, a_id);
    GOOD(p2p_rendezvous_register(a, address, "books", NULL, 0, 0, &registration, NULL));
    EQUAL(p2p_kind(registration), P2P_KIND_DISCOVERY);
    EQUAL(registrations(point), 1);
    GOOD(p2p_rendezvous_discover(b, address, "books", "{\"limit\": 5}", &json, NULL));
    CONTAINS(json, a_id);
    CONTAINS(json, "\"namespace\":\"books\"");
    CONTAINS(json, "/ip4/127.0.0.1/");
    CHECK(number_in(json, "ttl_ms") > 3600000 && number_in(json, "ttl_ms") <= 7200000);
    EQUAL(number_in(json, "refused"), 0);
    const char *cookie = strstr(json, "\"cookie\":\"");
    CHECK(cookie != NULL);
    cookie += strlen("\"cookie\":\"");
    snprintf(options, sizeof options, "{\"cookie\": \"%.*s\"}", (int)strcspn(cookie, "\""), cookie);
    p2p_free(json);
    GOOD(p2p_rendezvous_discover(b, address, "books", options, &json, NULL));
    CONTAINS(json, "\"registrations\":[]");
    p2p_free(json);
    ERROR(p2p_rendezvous_discover(b, address, "films", options, &json, NULL), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "cookie");
    CHECK(json == NULL);
    GOOD(p2p_close(registration)); /* takes it back */
    EVENTUALLY(registrations(point) == 0);
    GOOD(p2p_rendezvous_register(a, address, "books", NULL, 0, 0, &registration, NULL));
    GOOD(p2p_rendezvous_unregister(a, address, "books", NULL));
    EVENTUALLY(registrations(point) == 0);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(point));
}

TEST(rendezvous__queue_mode_and_renewal)
{
    p2p_handle queue = new_queue(), point = new_node(TCP, POINT), a = new_node(TCP, NULL);
    struct taken *t = malloc(sizeof *t);
    char address[256];
    const p2p_call first = on(queue, 1), second = on(queue, 2);
    first_address(point, address);
    EQUAL(p2p_rendezvous_register(a, address, "n", "{\"ttl_ms\": 1000, \"retry_min_ms\": 20}", queue, 9, NULL, &first), P2P_PENDING);
    DONE_GOOD(queue, 1, t);
    const p2p_handle registration = t->event.object;
    EQUAL(t->event.value, 1000);
    for (int i = 0; i < 2; i++) {
        wait_event(queue, P2P_EVENT_DISCOVERY_ADVERTISED, t);
        EQUAL(t->event.tag, 9);
        CHECK(t->event.subject == registration && t->event.value > 0 && t->event.value <= 1000);
        CONTAINS(t->text, "rendezvous ");
    }
    EQUAL(p2p_rendezvous_discover(a, address, "n", NULL, NULL, &second), P2P_PENDING);
    DONE_GOOD(queue, 2, t);
    CONTAINS(t->text, "\"registrations\":[{");
    GOOD(p2p_close(point));
    wait_event(queue, P2P_EVENT_DISCOVERY_FAILED, t);
    CHECK(t->event.status < 0 && t->event.object >= 20);
    CONTAINS(t->text, "rendezvous ");
    GOOD(p2p_close(registration));
    wait_event(queue, P2P_EVENT_CLOSED, t);
    CHECK(t->event.subject == registration && t->event.status == 0);
    GOOD(p2p_close(a));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(rendezvous__refusals)
{
    p2p_handle point = new_node(TCP, "\"rendezvous\": {\"server\": true, \"max_per_peer\": 1, \"max_namespace\": 4}"), a = new_node(TCP, NULL), first, second;
    char address[256], own[256], *json;
    first_address(point, address);
    first_address(a, own);
    ERROR(p2p_rendezvous_register(a, address, "longer", NULL, 0, 0, &first, NULL), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "too long");
    EQUAL(p2p_last_detail(), 100); /* the status of the protocol */
    ERROR(p2p_rendezvous_register(a, address, "n", "{\"ttl_ms\": 1000}", 0, 0, &first, NULL), P2P_E_INVALID);
    EQUAL(p2p_last_detail(), 102);
    GOOD(p2p_rendezvous_register(a, address, "n", NULL, 0, 0, &first, NULL));
    ERROR(p2p_rendezvous_register(a, address, "m", NULL, 0, 0, &second, NULL), P2P_E_BUSY);
    EQUAL(second, 0);
    ERROR(p2p_rendezvous_discover(point, own, "n", NULL, &json, NULL), P2P_E_PROTOCOL);
    GOOD(p2p_close(a));
    GOOD(p2p_close(point));
}

TEST(discovery__advertise_and_find)
{
    p2p_handle queue = new_queue(), point = new_node(TCP, POINT), advertisement, search;
    struct taken *t = malloc(sizeof *t);
    char address[256], a_id[128];
    first_address(point, address);
    p2p_handle a = new_guest(address), b = new_guest(address);
    copy_id(a, a_id);
    GOOD(p2p_discovery_advertise(a, "t", NULL, queue, 1, &advertisement));
    EQUAL(p2p_kind(advertisement), P2P_KIND_DISCOVERY);
    wait_event(queue, P2P_EVENT_DISCOVERY_ADVERTISED, t);
    GOOD(p2p_discovery_find(b, "t", NULL, queue, 2, &search));
    EQUAL(p2p_kind(search), P2P_KIND_SEARCH);
    wait_event(queue, P2P_EVENT_DISCOVERY_FOUND, t);
    EQUAL(t->event.tag, 2);
    CHECK(t->event.subject == search);
    EQUAL_TEXT(line_of(t, 0), a_id);
    CONTAINS(line_of(t, 1), "rendezvous ");
    CONTAINS(line_of(t, 2), "/ip4/127.0.0.1/tcp/");
    wait_event(queue, P2P_EVENT_CLOSED, t);
    CHECK(t->event.subject == search && t->event.status == 0);
    CHECK(p2p_live_handles(P2P_KIND_SEARCH) == 1); /* it is ours to close */
    GOOD(p2p_close(search));
    GOOD(p2p_close(advertisement));
    EVENTUALLY(registrations(point) == 0);
    ERROR(p2p_discovery_find(b, "t", NULL, 0, 0, &search), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "queue");
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(point));
    GOOD(p2p_close(queue));
    free(t);
}

static int64_t peers_of(p2p_handle join, const char *peer)
{
    char *peers;
    GOOD(p2p_discovery_peers(join, &peers));
    const int64_t count = *peers ? 1 + (strchr(peers, '\n') != NULL) : 0;
    if (peer && !strstr(peers, peer)) FAIL("%s is not among %s", peer, peers);
    p2p_free(peers);
    return count;
}

TEST(discovery__join_meets_leaves_and_meets_again)
{
    p2p_handle queue_a = new_queue(), queue_b = new_queue(), point = new_node(TCP, POINT), in_a, in_b, twice;
    struct taken *t = malloc(sizeof *t);
    char address[256], a_id[128], b_id[128];
    first_address(point, address);
    p2p_handle a = new_guest(address), b = new_guest(address);
    copy_id(a, a_id);
    copy_id(b, b_id);
    GOOD(p2p_discovery_join(a, "t", QUICKLY, queue_a, 1, &in_a));
    GOOD(p2p_discovery_join(b, "t", QUICKLY, queue_b, 2, &in_b));
    ERROR(p2p_discovery_join(a, "t", NULL, 0, 0, &twice), P2P_E_EXISTS);
    wait_event(queue_a, P2P_EVENT_DISCOVERY_CONNECTED, t);
    EQUAL_TEXT(line_of(t, 0), b_id);
    CHECK(*line_of(t, 1) && strstr(line_of(t, 2), "/p2p/"));
    CHECK(t->event.tag == 1 && t->event.subject == in_a);
    EQUAL(peers_of(in_a, b_id), 1);
    wait_event(queue_b, P2P_EVENT_DISCOVERY_CONNECTED, t);
    EQUAL_TEXT(line_of(t, 0), a_id);
    EQUAL(peers_of(in_b, a_id), 1);
    GOOD(p2p_close(in_b));
    wait_event(queue_a, P2P_EVENT_DISCOVERY_LEFT, t);
    EQUAL_TEXT(t->text, b_id);
    EQUAL(peers_of(in_a, NULL), 0);
    GOOD(p2p_discovery_join(b, "t", QUICKLY, queue_b, 2, &in_b));
    wait_event(queue_a, P2P_EVENT_DISCOVERY_CONNECTED, t);
    GOOD(p2p_close(b)); /* closes in_b too */
    wait_event(queue_a, P2P_EVENT_DISCOVERY_LEFT, t);
    ERROR(p2p_discovery_peers(in_b, &(char *){NULL}), P2P_E_HANDLE);
    GOOD(p2p_close(a));
    GOOD(p2p_close(point));
    GOOD(p2p_close(queue_a));
    GOOD(p2p_close(queue_b));
    free(t);
}

TEST(discovery__join_among_connected_peers)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), in_a, in_b;
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_discovery_join(pair.a, "t", NULL, queue, 1, &in_a));
    GOOD(p2p_discovery_join(pair.b, "t", NULL, 0, 0, &in_b));
    wait_event(queue, P2P_EVENT_DISCOVERY_CONNECTED, t);
    EQUAL_TEXT(line_of(t, 0), pair.b_id);
    EQUAL_TEXT(line_of(t, 1), "peers");
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(rendezvous__cancelled_and_closed_while_it_waits)
{
    p2p_handle queue = new_queue(), node = new_node(TCP, NULL);
    struct taken *t = malloc(sizeof *t);
    char nowhere[256];
    const int fd = hanging_listener(nowhere);
    const p2p_call first = on(queue, 1), second = on(queue, 2), third = on(queue, 3);
    EQUAL(p2p_rendezvous_register(node, nowhere, "n", NULL, queue, 0, NULL, &first), P2P_PENDING);
    EQUAL(p2p_rendezvous_discover(node, nowhere, "n", NULL, NULL, &second), P2P_PENDING);
    EQUAL(p2p_cancel(node, 1), 1);
    DONE_ERROR(queue, 1, t, P2P_E_CANCELLED);
    EQUAL(p2p_rendezvous_unregister(node, nowhere, "n", &third), P2P_PENDING);
    ERROR(p2p_rendezvous_discover(node, nowhere, "n", NULL, &(char *){NULL}, &(p2p_call){.size = sizeof(p2p_call), .timeout_ms = 50}), P2P_E_TIMEOUT);
    GOOD(p2p_close(node));
    DONE_ERROR(queue, 2, t, P2P_E_CLOSED);
    DONE_ERROR(queue, 3, t, P2P_E_CLOSED);
    GOOD(p2p_close(queue));
    close(fd);
    free(t);
}

TEST(discovery__closed_while_it_dials_and_asks)
{
    p2p_handle queue = new_queue(), join, search, advertisement;
    char nowhere[256];
    const int fd = hanging_listener(nowhere);
    p2p_handle node = new_guest(nowhere);
    GOOD(p2p_discovery_join(node, "t", NULL, queue, 1, &join));
    GOOD(p2p_discovery_find(node, "t", "{\"follow\": true}", queue, 2, &search));
    GOOD(p2p_discovery_advertise(node, "u", NULL, queue, 3, &advertisement));
    pause_ms(20); /* so that they are under way, which they need not be */
    const int64_t begun = now_ms();
    GOOD(p2p_close(search));
    GOOD(p2p_close(join));
    GOOD(p2p_close(node));
    CHECK(now_ms() - begun < 5000 * slow());
    GOOD(p2p_close(queue));
    close(fd);
}

TEST(discovery_cycles__give_everything_back)
{
    p2p_handle point = new_node(TCP, POINT);
    char address[256];
    first_address(point, address);
    p2p_handle node = new_guest(address);
    GOOD(p2p_peer_connect(node, address, NULL, NULL));
    int64_t goroutines = 0;
    for (int i = 0; i < 30; i++) {
        p2p_handle queue = new_queue(), join, search, advertisement, registration;
        GOOD(p2p_discovery_join(node, "t", NULL, queue, 0, &join));
        GOOD(p2p_discovery_find(node, "t", "{\"follow\": true}", queue, 0, &search));
        GOOD(p2p_discovery_advertise(node, "t", NULL, queue, 0, &advertisement));
        GOOD(p2p_rendezvous_register(node, address, "t", NULL, queue, 0, &registration, NULL));
        GOOD(p2p_close(i % 2 ? join : search));
        GOOD(p2p_close(registration));
        GOOD(p2p_close(advertisement));
        GOOD(p2p_close(search));
        GOOD(p2p_close(join));
        GOOD(p2p_close(queue));
        if (i == 4) {
            pause_ms(50);
            goroutines = runtime_number("goroutines");
        }
    }
    EQUAL(p2p_live_handles(P2P_KIND_DISCOVERY) + p2p_live_handles(P2P_KIND_SEARCH), 0);
    EVENTUALLY(runtime_number("goroutines") <= goroutines + 4);
    EVENTUALLY(registrations(point) == 0);
    GOOD(p2p_close(node));
    GOOD(p2p_close(point));
}
