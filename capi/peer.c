/* Header section Peers. */
#include "_cgo_export.h"

int p2p_peer_connect(p2p_handle node, const char *addresses, char **peer_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(peer_out);
    ENTER();
    NEED(addresses);
    WAIT(call, &wait);
    return go_peer_connect(node, (char *)addresses, peer_out, &wait);
}

int p2p_peer_disconnect(p2p_handle node, const char *peer)
{
    ENTER();
    NEED(peer);
    return go_peer_disconnect(node, (char *)peer);
}

int p2p_peer_list(p2p_handle node, char **peers_out)
{
    CLEAR(peers_out);
    ENTER();
    NEED(peers_out);
    return go_peer_list(node, peers_out);
}

int p2p_peer_info(p2p_handle node, const char *peer, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_peer_info(node, (char *)peer, json_out);
}

int p2p_peer_ping(p2p_handle node, const char *peer, int64_t *rtt_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(rtt_out);
    ENTER();
    NEED(peer);
    WAIT(call, &wait);
    NEED_OUT(&wait, rtt_out);
    return go_peer_ping(node, (char *)peer, rtt_out, &wait);
}

int p2p_peer_keep(p2p_handle node, const char *addresses)
{
    ENTER();
    NEED(addresses);
    return go_peer_keep(node, (char *)addresses);
}

int p2p_peer_release(p2p_handle node, const char *peer)
{
    ENTER();
    NEED(peer);
    return go_peer_release(node, (char *)peer);
}
