/* Header section Peerstore. */
#include "_cgo_export.h"

int p2p_peer_add(p2p_handle node, const char *addresses, int64_t ttl_ms, char **peer_out)
{
    CLEAR(peer_out);
    ENTER();
    NEED(addresses);
    return go_peer_add(node, (char *)addresses, ttl_ms, peer_out);
}

int p2p_peer_forget(p2p_handle node, const char *peer)
{
    ENTER();
    NEED(peer);
    return go_peer_forget(node, (char *)peer);
}

int p2p_peer_known(p2p_handle node, char **peers_out)
{
    CLEAR(peers_out);
    ENTER();
    NEED(peers_out);
    return go_peer_known(node, peers_out);
}

int p2p_peer_put(p2p_handle node, const char *peer, const char *name, const uint8_t *data, size_t len)
{
    ENTER();
    NEED(peer);
    NEED(name);
    NEED_BYTES(data, len);
    return go_peer_put(node, (char *)peer, (char *)name, (uint8_t *)data, len);
}

int p2p_peer_get(p2p_handle node, const char *peer, const char *name, uint8_t **data_out, size_t *len_out)
{
    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    NEED(peer);
    NEED(name);
    NEED(data_out);
    NEED(len_out);
    return go_peer_get(node, (char *)peer, (char *)name, data_out, len_out);
}

int p2p_peer_record(p2p_handle node, const char *peer, uint8_t **record_out, size_t *len_out)
{
    CLEAR(record_out);
    CLEAR(len_out);
    ENTER();
    NEED(record_out);
    NEED(len_out);
    return go_peer_record(node, (char *)peer, record_out, len_out);
}

int p2p_peer_add_record(p2p_handle node, const uint8_t *record, size_t len, int64_t ttl_ms, char **peer_out)
{
    CLEAR(peer_out);
    ENTER();
    NEED_BYTES(record, len);
    return go_peer_add_record(node, (uint8_t *)record, len, ttl_ms, peer_out);
}
