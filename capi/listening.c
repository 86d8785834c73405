/* Header section Listening. */
#include "_cgo_export.h"

int p2p_node_listen(p2p_handle node, const char *addresses, char **bound_out)
{
    CLEAR(bound_out);
    ENTER();
    NEED(addresses);
    return go_node_listen(node, (char *)addresses, bound_out);
}

int p2p_node_unlisten(p2p_handle node, const char *addresses)
{
    ENTER();
    NEED(addresses);
    return go_node_unlisten(node, (char *)addresses);
}

int p2p_node_announce(p2p_handle node, const char *options)
{
    ENTER();
    return go_node_announce(node, (char *)options);
}
