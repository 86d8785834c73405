/* Header section Relay. */
#include "_cgo_export.h"

int p2p_relay_reserve(p2p_handle node, const char *addresses, p2p_handle queue, uint64_t tag, p2p_handle *reservation_out, char **relayed_out,
                      const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(reservation_out);
    CLEAR(relayed_out);
    ENTER();
    NEED(addresses);
    WAIT(call, &wait);
    NEED_OUT(&wait, reservation_out);
    return go_relay_reserve(node, (char *)addresses, queue, tag, reservation_out, relayed_out, &wait);
}

int p2p_relay_info(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_relay_info(node, json_out);
}

int p2p_relay_allow(p2p_handle node, const char *subjects)
{
    ENTER();
    NEED(subjects);
    return go_relay_allow(node, (char *)subjects);
}

int p2p_relay_deny(p2p_handle node, const char *subjects)
{
    ENTER();
    NEED(subjects);
    return go_relay_deny(node, (char *)subjects);
}

int p2p_relay_forget(p2p_handle node, const char *subjects)
{
    ENTER();
    NEED(subjects);
    return go_relay_forget(node, (char *)subjects);
}
