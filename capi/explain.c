/* Header section Diagnosis. */
#include "_cgo_export.h"

int p2p_peer_explain(p2p_handle node, const char *addresses, const char *options, char **text_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(text_out);
    ENTER();
    NEED(addresses);
    WAIT(call, &wait);
    NEED_OUT(&wait, text_out);
    return go_peer_explain(node, (char *)addresses, (char *)options, text_out, &wait);
}
