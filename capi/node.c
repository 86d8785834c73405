/* Header section Node. */
#include "_cgo_export.h"

int p2p_node_new(p2p_handle config, p2p_handle queue, uint64_t tag, p2p_handle *node_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(node_out);
    ENTER();
    WAIT(call, &wait);
    NEED_OUT(&wait, node_out);
    return go_node_new(config, queue, tag, node_out, &wait);
}

int p2p_node_close(p2p_handle node, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    WAIT(call, &wait);
    return go_node_close(node, &wait);
}

int p2p_node_id(p2p_handle node, char **peer_out)
{
    CLEAR(peer_out);
    ENTER();
    NEED(peer_out);
    return go_node_id(node, peer_out);
}

int p2p_node_addresses(p2p_handle node, char **addresses_out)
{
    CLEAR(addresses_out);
    ENTER();
    NEED(addresses_out);
    return go_node_addresses(node, addresses_out);
}
