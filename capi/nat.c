/* Header section NAT. */
#include "_cgo_export.h"

int p2p_nat_info(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_nat_info(node, json_out);
}

int p2p_nat_wait(p2p_handle node, const char *what, char **reachability_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(reachability_out);
    ENTER();
    WAIT(call, &wait);
    return go_nat_wait(node, (char *)what, reachability_out, &wait);
}
