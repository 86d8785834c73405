/* Header section Trimming. */
#include "_cgo_export.h"

int p2p_peer_tag(p2p_handle node, const char *peer, const char *name, int32_t value)
{
    ENTER();
    NEED(peer);
    NEED(name);
    return go_peer_tag(node, (char *)peer, (char *)name, value);
}

int p2p_peer_untag(p2p_handle node, const char *peer, const char *name)
{
    ENTER();
    NEED(peer);
    NEED(name);
    return go_peer_untag(node, (char *)peer, (char *)name);
}

int p2p_peer_protect(p2p_handle node, const char *peer, const char *name)
{
    ENTER();
    NEED(peer);
    NEED(name);
    return go_peer_protect(node, (char *)peer, (char *)name);
}

int p2p_peer_unprotect(p2p_handle node, const char *peer, const char *name)
{
    ENTER();
    NEED(peer);
    NEED(name);
    return go_peer_unprotect(node, (char *)peer, (char *)name);
}

int p2p_peer_trim(p2p_handle node, int32_t left, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    WAIT(call, &wait);
    return go_peer_trim(node, left, &wait);
}

int p2p_node_watermarks(p2p_handle node, int32_t low, int32_t high, int32_t grace_ms)
{
    ENTER();
    return go_node_watermarks(node, low, high, grace_ms);
}
