/* Header section DHT. */
#include "_cgo_export.h"

int p2p_dht_bootstrap(p2p_handle node, int32_t min_peers, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    WAIT(call, &wait);
    if (min_peers < 0)
        return error_fmt(P2P_E_INVALID, "min_peers: %d is negative", min_peers);
    return go_dht_bootstrap(node, min_peers, &wait);
}

int p2p_dht_put(p2p_handle node, const char *key, const uint8_t *data, size_t len, const char *options, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(key);
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    return go_dht_put(node, (char *)key, (uint8_t *)data, len, (char *)options, &wait);
}

int p2p_dht_get(p2p_handle node, const char *key, const char *options, uint8_t **data_out, size_t *len_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    NEED(key);
    WAIT(call, &wait);
    NEED_OUT(&wait, data_out);
    NEED_OUT(&wait, len_out);
    return go_dht_get(node, (char *)key, (char *)options, data_out, len_out, &wait);
}

int p2p_dht_search(p2p_handle node, const char *key, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *search_out)
{
    CLEAR(search_out);
    ENTER();
    NEED(search_out);
    NEED(key);
    return go_dht_search(node, (char *)key, (char *)options, queue, tag, search_out);
}

int p2p_dht_set(p2p_handle node, const char *name, const uint8_t *data, size_t len, const char *options, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(name);
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    return go_dht_set(node, (char *)name, (uint8_t *)data, len, (char *)options, &wait);
}

int p2p_dht_unset(p2p_handle node, const char *name, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(name);
    WAIT(call, &wait);
    return go_dht_unset(node, (char *)name, &wait);
}

int p2p_dht_provide(p2p_handle node, const char *key, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(key);
    WAIT(call, &wait);
    return go_dht_provide(node, (char *)key, &wait);
}

int p2p_dht_provide_start(p2p_handle node, const char *keys, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(keys);
    WAIT(call, &wait);
    return go_dht_provide_keep(node, (char *)keys, 1, &wait);
}

int p2p_dht_provide_stop(p2p_handle node, const char *keys, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(keys);
    WAIT(call, &wait);
    return go_dht_provide_keep(node, (char *)keys, 0, &wait);
}

int p2p_dht_find_providers(p2p_handle node, const char *key, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *search_out)
{
    CLEAR(search_out);
    ENTER();
    NEED(search_out);
    NEED(key);
    return go_dht_find_providers(node, (char *)key, (char *)options, queue, tag, search_out);
}

int p2p_dht_find_peer(p2p_handle node, const char *peer, char **addresses_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(addresses_out);
    ENTER();
    NEED(peer);
    WAIT(call, &wait);
    NEED_OUT(&wait, addresses_out);
    return go_dht_find_peer(node, (char *)peer, addresses_out, &wait);
}

int p2p_dht_closest_peers(p2p_handle node, const char *key, char **peers_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(peers_out);
    ENTER();
    NEED(key);
    WAIT(call, &wait);
    NEED_OUT(&wait, peers_out);
    return go_dht_closest_peers(node, (char *)key, peers_out, &wait);
}

int p2p_dht_refresh(p2p_handle node, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    WAIT(call, &wait);
    return go_dht_refresh(node, &wait);
}

int p2p_dht_mode(p2p_handle node, const char *mode)
{
    ENTER();
    NEED(mode);
    return go_dht_mode(node, (char *)mode);
}

int p2p_dht_info(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_dht_info(node, json_out);
}
