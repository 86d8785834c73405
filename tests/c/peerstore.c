/* What a node knows of peers: addresses, signed records, data; in memory and over restarts. */
#include "support.h"

TEST(peer_add__leads_to_a_peer_that_is_named_by_its_id)
{
    p2p_handle a = new_node(NULL, NULL), b = new_node(TCP, NULL);
    char address[256], id[128], *peer;
    first_address(b, address);
    copy_id(b, id);
    ERROR(p2p_peer_connect(a, id, NULL, NULL), P2P_E_NO_ADDRESS);
    GOOD(p2p_peer_add(a, address, 0, &peer));
    EQUAL_TEXT(peer, id);
    p2p_free(peer);
    GOOD(p2p_peer_known(a, &peer));
    EQUAL_TEXT(peer, id);
    p2p_free(peer);
    GOOD(p2p_peer_connect(a, id, NULL, NULL));
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
}

TEST(peer_forget__leaves_nothing)
{
    struct pair pair = new_pair(TCP);
    uint8_t *data;
    size_t len;
    char *peers;
    GOOD(p2p_peer_put(pair.a, pair.b_id, "note", (const uint8_t *)"x", 1));
    ERROR(p2p_peer_forget(pair.a, pair.b_id), P2P_E_STATE);
    GOOD(p2p_peer_disconnect(pair.a, pair.b_id));
    GOOD(p2p_peer_forget(pair.a, pair.b_id));
    ERROR(p2p_peer_get(pair.a, pair.b_id, "note", &data, &len), P2P_E_NOT_FOUND);
    CHECK(data == NULL);
    EQUAL(len, 0);
    ERROR(p2p_peer_connect(pair.a, pair.b_id, NULL, NULL), P2P_E_NO_ADDRESS);
    GOOD(p2p_peer_known(pair.a, &peers));
    EQUAL_TEXT(peers, "");
    p2p_free(peers);
    close_pair(&pair);
}

TEST(peer_put__keeps_bytes_over_a_restart)
{
    char folder[] = "/tmp/libp2pgo-test-XXXXXX", options[256], command[64];
    const uint8_t bytes[] = {0, 1, 2, 255};
    uint8_t *data;
    size_t len;
    char *json;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(options, sizeof options, "\"peerstore\": {\"directory\": \"%s/peers\"}", folder);
    p2p_handle node = new_node(NULL, options), second, config;
    GOOD(p2p_peer_put(node, NOBODY, "app/state", bytes, sizeof bytes));
    GOOD(p2p_peer_add(node, NOWHERE, -1, NULL));
    char whole[300];
    snprintf(whole, sizeof whole, "{\"listen\": [], %s}", options);
    GOOD(p2p_config_new(whole, &config));
    ERROR(p2p_node_new(config, 0, 0, &second, NULL), P2P_E_BUSY); /* one node at a time */
    CONTAINS(p2p_last_error(), folder);
    GOOD(p2p_close(config));
    GOOD(p2p_close(node));
    node = new_node(NULL, options);
    GOOD(p2p_peer_get(node, NOBODY, "app/state", &data, &len));
    EQUAL(len, sizeof bytes);
    CHECK(memcmp(data, bytes, len) == 0);
    p2p_free(data);
    GOOD(p2p_peer_info(node, NOBODY, &json));
    CONTAINS(json, "/ip4/127.0.0.1/tcp/1");
    p2p_free(json);
    GOOD(p2p_peer_put(node, NOBODY, "app/state", NULL, 0));
    ERROR(p2p_peer_get(node, NOBODY, "app/state", &data, &len), P2P_E_NOT_FOUND);
    GOOD(p2p_close(node));
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

TEST(peer_record__travels_by_hand)
{
    p2p_handle a = new_node(NULL, NULL), b = new_node(TCP, NULL);
    char id[128], *peer, *json;
    uint8_t *record;
    size_t len;
    copy_id(b, id);
    ERROR(p2p_peer_record(a, id, &record, &len), P2P_E_NOT_FOUND);
    GOOD(p2p_peer_record(b, NULL, &record, &len)); /* its own */
    EQUAL(p2p_peer_add_record(a, record, len, 0, &peer), 1);
    EQUAL_TEXT(peer, id);
    p2p_free(peer);
    GOOD(p2p_record_open(record, len, &json));
    CONTAINS(json, id);
    p2p_free(json);
    GOOD(p2p_peer_connect(a, id, NULL, NULL));
    record[len - 1] ^= 1;
    ERROR(p2p_peer_add_record(a, record, len, 0, &peer), P2P_E_SECURITY);
    CHECK(peer == NULL);
    p2p_free(record);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
}
