/* Nodes and their peers: start, addresses, connect, ping, keep, disconnect, events, close. */
#include "support.h"

#include <sys/stat.h>

/* A folder of the test's own. */
static void temporary_folder(char folder[64])
{
    snprintf(folder, 64, "/tmp/libp2pgo-test-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

static void identity_option(char option[256], const char *file) { snprintf(option, 256, "\"identity\": {\"file\": \"%s\"}", file); }

/* What is beyond the capacity is lost, also when that is too small to be shared out. */
TEST(node_events__beyond_a_small_capacity_are_dropped)
{
    p2p_handle queue = new_queue(), other = new_node(TCP, NULL), node = new_node_on(queue, NULL, "\"events\": {\"capacity\": 3}");
    struct taken *taken = malloc(sizeof *taken);
    char address[256], id[128];
    first_address(other, address);
    copy_id(other, id);
    for (int i = 0; i < 10; i++) {
        GOOD(p2p_peer_connect(node, address, NULL, NULL));
        GOOD(p2p_peer_disconnect(node, id));
    }
    EVENTUALLY(info_number(node, "dropped") >= 10);
    CHECK(info_number(queue, "events") + info_number(node, "waiting") <= 3);
    wait_event(queue, P2P_EVENT_DROPPED, taken);
    CHECK(taken->event.value >= 1);
    GOOD(p2p_close(node));
    GOOD(p2p_close(other));
    GOOD(p2p_close(queue));
    free(taken);
}

TEST(node_new__starts_with_defaults_only)
{
    p2p_handle node;
    char id[128], address[256];
    GOOD(p2p_node_new(0, 0, 0, &node, NULL));
    EQUAL(p2p_kind(node), P2P_KIND_NODE);
    copy_id(node, id);
    first_address(node, address);
    CONTAINS(address, id);
    GOOD(p2p_close(node));
}

TEST(node_new__completes_on_a_queue)
{
    p2p_handle queue = new_queue(), config;
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 42);
    char id[128];
    GOOD(p2p_config_new("{\"listen\": []}", &config));
    EQUAL(p2p_node_new(config, queue, 5, NULL, &call), P2P_PENDING);
    GOOD(p2p_close(config)); /* it may be closed at once */
    DONE_GOOD(queue, 42, t);
    copy_id(t->event.object, id);
    GOOD(p2p_close(t->event.object));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(node_new__port_in_use_is_named)
{
    p2p_handle first = new_node(TCP, NULL), config, second = 1;
    char address[256], json[512];
    first_address(first, address);
    *strstr(address, "/p2p/") = '\0';
    snprintf(json, sizeof json, "{\"listen\": [\"%s\"]}", address);
    GOOD(p2p_config_new(json, &config));
    ERROR(p2p_node_new(config, 0, 0, &second, NULL), P2P_E_LISTEN);
    CONTAINS(p2p_last_error(), address);
    EQUAL(second, 0);
    GOOD(p2p_close(first));
    GOOD(p2p_node_new(config, 0, 0, &second, NULL)); /* closing gave the port back */
    GOOD(p2p_close(second));
    GOOD(p2p_close(config));
}

TEST(identity_file__is_made_private_and_used_again)
{
    char folder[64], file[96], option[256], first[128], second[128];
    struct stat state;
    temporary_folder(folder);
    snprintf(file, sizeof file, "%s/node.key", folder);
    identity_option(option, file);
    p2p_handle node = new_node(NULL, option);
    copy_id(node, first);
    GOOD(p2p_close(node));
    CHECK(stat(file, &state) == 0);
    EQUAL(state.st_mode & 0777, 0600);
    node = new_node(NULL, option);
    copy_id(node, second);
    GOOD(p2p_close(node));
    EQUAL_TEXT(second, first);
    unlink(file);
    rmdir(folder);
}

TEST(identity_file__readable_by_others_is_refused)
{
    char folder[64], file[96], json[256];
    p2p_handle config, node;
    temporary_folder(folder);
    snprintf(file, sizeof file, "%s/node.key", folder);
    identity_option(json, file);
    GOOD(p2p_close(new_node(NULL, json)));
    CHECK(chmod(file, 0644) == 0);
    snprintf(json, sizeof json, "{\"listen\": [], \"identity\": {\"file\": \"%s\"}}", file);
    GOOD(p2p_config_new(json, &config));
    ERROR(p2p_node_new(config, 0, 0, &node, NULL), P2P_E_PERMISSION);
    CONTAINS(p2p_last_error(), file);
    GOOD(p2p_close(config));
    unlink(file);
    rmdir(folder);
}

TEST(identity_file__of_rubbish_is_refused_and_kept)
{
    char folder[64], file[96], json[256], content[16] = "";
    p2p_handle config, node;
    temporary_folder(folder);
    snprintf(file, sizeof file, "%s/node.key", folder);
    FILE *key = fopen(file, "w");
    CHECK(key && fputs("rubbish", key) >= 0 && fclose(key) == 0 && chmod(file, 0600) == 0);
    snprintf(json, sizeof json, "{\"listen\": [], \"identity\": {\"file\": \"%s\"}}", file);
    GOOD(p2p_config_new(json, &config));
    ERROR(p2p_node_new(config, 0, 0, &node, NULL), P2P_E_PARSE);
    CONTAINS(p2p_last_error(), file);
    key = fopen(file, "r");
    CHECK(key && fgets(content, sizeof content, key) && fclose(key) == 0);
    EQUAL_TEXT(content, "rubbish");
    GOOD(p2p_close(config));
    unlink(file);
    rmdir(folder);
}

TEST_OVER(peer_connect__connects_and_tells_who)
{
    struct pair pair = new_pair(over);
    char *peers, *json;
    GOOD(p2p_peer_list(pair.a, &peers));
    EQUAL_TEXT(peers, pair.b_id);
    p2p_free(peers);
    GOOD(p2p_peer_info(pair.a, pair.b_id, &json));
    CONTAINS(json, "\"connected\":true");
    CONTAINS(json, strstr(over, "quic") ? "quic" : "tcp");
    p2p_free(json);
    GOOD(p2p_peer_info(pair.a, NULL, &json));
    CHECK(json[0] == '[');
    CONTAINS(json, pair.b_id);
    p2p_free(json);
    GOOD(p2p_peer_connect(pair.a, pair.b_id, NULL, NULL)); /* by its id, and without wanting it back */
    close_pair(&pair);
}

TEST(peer_connect__over_every_transport)
{
    const char *const listen[] = {TCP, QUIC, TCP "/ws", QUIC "/webtransport", "/ip4/127.0.0.1/udp/0/webrtc-direct"};
    for (int i = 0; i < 5; i++) {
        struct pair pair = new_pair(listen[i]);
        int64_t rtt = 0;
        GOOD(p2p_peer_ping(pair.a, pair.b_id, &rtt, NULL));
        CHECK(rtt > 0);
        close_pair(&pair);
    }
}

TEST(peer_connect__to_somebody_else_is_a_security_error)
{
    p2p_handle a = new_node(NULL, NULL), b = new_node(TCP, NULL);
    char address[256], *peer = (char *)1;
    first_address(b, address);
    strcpy(strstr(address, "/p2p/"), "/p2p/" NOBODY);
    ERROR(p2p_peer_connect(a, address, &peer, NULL), P2P_E_SECURITY);
    CHECK(peer == NULL);
    CONTAINS(p2p_last_error(), NOBODY);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
}

TEST(peer_connect__to_a_peer_that_hangs_ends_in_time)
{
    p2p_handle node = new_node(NULL, NULL);
    char address[256];
    const int fd = hanging_listener(address);
    const p2p_call call = within(300);
    const int64_t start = now_ms();
    ERROR(p2p_peer_connect(node, address, NULL, &call), P2P_E_TIMEOUT);
    CHECK(now_ms() - start >= 290 && now_ms() - start < limit_ms() / 2);
    close(fd);
    GOOD(p2p_close(node));
}

TEST(peer_connect__tells_both_sides)
{
    p2p_handle queue_a = new_queue(), queue_b = new_queue();
    p2p_handle a = new_node_on(queue_a, NULL, NULL), b = new_node_on(queue_b, TCP, NULL);
    struct taken *t = malloc(sizeof *t);
    char address[256], a_id[128], b_id[128];
    first_address(b, address);
    copy_id(a, a_id);
    copy_id(b, b_id);
    GOOD(p2p_peer_connect(a, address, NULL, NULL));
    wait_event(queue_a, P2P_EVENT_PEER_CONNECTED, t);
    EQUAL(t->event.subject, a);
    EQUAL_TEXT(line_of(t, 0), b_id);
    CHECK(!(t->event.flags & P2P_FLAG_INBOUND));
    wait_event(queue_b, P2P_EVENT_PEER_CONNECTED, t);
    EQUAL_TEXT(line_of(t, 0), a_id);
    CHECK(t->event.flags & P2P_FLAG_INBOUND);
    GOOD(p2p_peer_disconnect(a, b_id));
    wait_event(queue_a, P2P_EVENT_PEER_DISCONNECTED, t);
    EQUAL_TEXT(line_of(t, 0), b_id);
    wait_event(queue_b, P2P_EVENT_PEER_DISCONNECTED, t);
    EQUAL_TEXT(line_of(t, 0), a_id);
    GOOD(p2p_peer_disconnect(a, b_id)); /* none left: good too */
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(queue_a));
    GOOD(p2p_close(queue_b));
    free(t);
}

static int is_identified(p2p_handle node, const char *peer)
{
    char *json;
    GOOD(p2p_peer_info(node, peer, &json));
    const int known = strstr(json, "\"connected\":true") && strstr(json, "/ipfs/ping/1.0.0");
    p2p_free(json);
    return known;
}

TEST(peer_keep__connects_again)
{
    p2p_handle queue = new_queue(), a = new_node_on(queue, NULL, "\"keep\": {\"retry_min_ms\": 50}"), b = new_node(TCP, NULL);
    struct taken *t = malloc(sizeof *t);
    char address[256], b_id[128];
    first_address(b, address);
    copy_id(b, b_id);
    GOOD(p2p_peer_keep(a, address));
    wait_event(queue, P2P_EVENT_PEER_CONNECTED, t);
    for (int i = 0; i < 3; i++) {
        /* Before that the attempt is still under way, and finds another connection before the loss of the first is told. */
        EVENTUALLY(is_identified(a, b_id));
        pause_ms(5);
        GOOD(p2p_peer_disconnect(a, b_id));
        wait_event(queue, P2P_EVENT_PEER_DISCONNECTED, t);
        wait_event(queue, P2P_EVENT_PEER_CONNECTED, t);
        EQUAL_TEXT(line_of(t, 0), b_id);
    }
    GOOD(p2p_peer_release(a, b_id));
    ERROR(p2p_peer_release(a, b_id), P2P_E_NOT_FOUND);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(peer_keep__tells_when_nobody_answers)
{
    p2p_handle queue = new_queue(), node = new_node_on(queue, NULL, "\"keep\": {\"retry_min_ms\": 20}");
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_peer_keep(node, NOWHERE));
    for (int i = 0; i < 2; i++) {
        wait_event(queue, P2P_EVENT_PEER_UNREACHABLE, t);
        EQUAL(t->event.status, P2P_E_DIAL);
        CONTAINS(t->text, "/ip4/127.0.0.1/tcp/1");
        CHECK(t->event.object > 0);
    }
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    free(t);
}

TEST(peer_ping__completes_with_nanoseconds)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 9);
    EQUAL(p2p_peer_ping(pair.a, pair.b_id, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 9, t);
    EQUAL(t->event.subject, pair.a);
    CHECK(t->event.value > 0 && t->event.value < 1000000000LL * 10);
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(node_info__is_json)
{
    p2p_handle node = new_node(TCP, NULL), parent = 1;
    char *json, id[128];
    copy_id(node, id);
    GOOD(p2p_info(node, &json));
    CONTAINS(json, id);
    p2p_free(json);
    GOOD(p2p_parent(node, &parent));
    EQUAL(parent, 0);
    GOOD(p2p_close(node));
}

TEST(node_close__closes_its_children_and_twice_is_good)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service, near, far, topic, subscription, parent;
    GOOD(p2p_stream_serve(pair.b, "/x/1", NULL, queue, 0, &service));
    new_stream(&pair, &near, &far);
    GOOD(p2p_topic_join(pair.b, "t", NULL, queue, 0, &topic));
    GOOD(p2p_topic_subscribe(topic, NULL, queue, 0, &subscription));
    GOOD(p2p_parent(subscription, &parent));
    EQUAL(parent, topic);
    GOOD(p2p_parent(topic, &parent));
    EQUAL(parent, pair.b);
    GOOD(p2p_parent(far, &parent));
    EQUAL(parent, pair.b);
    EQUAL(p2p_close(pair.b), 0);
    const p2p_handle gone[] = {service, far, topic, subscription, pair.b};
    for (int i = 0; i < 5; i++) {
        ERROR(p2p_kind(gone[i]), P2P_E_HANDLE);
        EQUAL(p2p_close(gone[i]), 0);
    }
    GOOD(p2p_close(pair.a));
    GOOD(p2p_close(queue));
}

TEST(node_close__on_a_queue_completes)
{
    p2p_handle node = new_node(TCP, NULL), queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 4);
    EQUAL(p2p_node_close(node, &call), P2P_PENDING);
    DONE_GOOD(queue, 4, t);
    ERROR(p2p_kind(node), P2P_E_HANDLE);
    node = new_node(TCP, NULL);
    GOOD(p2p_node_close(node, NULL));
    ERROR(p2p_kind(node), P2P_E_HANDLE);
    GOOD(p2p_close(queue));
    free(t);
}
