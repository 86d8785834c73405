/* Header section Gating. */
#include "_cgo_export.h"

int p2p_gate_block(p2p_handle node, const char *rules)
{
    ENTER();
    NEED(rules);
    return go_gate_block(node, (char *)rules);
}

int p2p_gate_allow(p2p_handle node, const char *rules)
{
    ENTER();
    NEED(rules);
    return go_gate_allow(node, (char *)rules);
}

int p2p_gate_remove(p2p_handle node, const char *rules)
{
    ENTER();
    NEED(rules);
    return go_gate_remove(node, (char *)rules);
}

int p2p_gate_default(p2p_handle node, const char *verdict)
{
    ENTER();
    NEED(verdict);
    return go_gate_default(node, (char *)verdict);
}

int p2p_gate_list(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_gate_list(node, json_out);
}

int p2p_gate_ask(p2p_handle node, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *service_out)
{
    CLEAR(service_out);
    ENTER();
    NEED(service_out);
    return go_gate_ask(node, (char *)options, queue, tag, service_out);
}
