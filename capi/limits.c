/* Header section Limits. */
#include "_cgo_export.h"

int p2p_limits_info(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_limits_info(node, json_out);
}
