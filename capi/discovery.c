/* Header section Discovery. */
#include "_cgo_export.h"

int p2p_discovery_join(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *join_out)
{
    CLEAR(join_out);
    ENTER();
    NEED(join_out);
    NEED(name);
    return go_discovery_join(node, (char *)name, (char *)options, queue, tag, join_out);
}

int p2p_discovery_peers(p2p_handle join, char **peers_out)
{
    CLEAR(peers_out);
    ENTER();
    NEED(peers_out);
    return go_discovery_peers(join, peers_out);
}

int p2p_discovery_advertise(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag,
                            p2p_handle *advertisement_out)
{
    CLEAR(advertisement_out);
    ENTER();
    NEED(advertisement_out);
    NEED(name);
    return go_discovery_advertise(node, (char *)name, (char *)options, queue, tag, advertisement_out);
}

int p2p_discovery_find(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *search_out)
{
    CLEAR(search_out);
    ENTER();
    NEED(search_out);
    NEED(name);
    return go_discovery_find(node, (char *)name, (char *)options, queue, tag, search_out);
}

int p2p_rendezvous_register(p2p_handle node, const char *point, const char *name, const char *options, p2p_handle queue, uint64_t tag,
                            p2p_handle *registration_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(registration_out);
    ENTER();
    NEED(point);
    NEED(name);
    WAIT(call, &wait);
    NEED_OUT(&wait, registration_out);
    return go_rendezvous_register(node, (char *)point, (char *)name, (char *)options, queue, tag, registration_out, &wait);
}

int p2p_rendezvous_unregister(p2p_handle node, const char *point, const char *name, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED(point);
    NEED(name);
    WAIT(call, &wait);
    return go_rendezvous_unregister(node, (char *)point, (char *)name, &wait);
}

int p2p_rendezvous_discover(p2p_handle node, const char *point, const char *name, const char *options, char **json_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(json_out);
    ENTER();
    NEED(point);
    NEED(name);
    WAIT(call, &wait);
    NEED_OUT(&wait, json_out);
    return go_rendezvous_discover(node, (char *)point, (char *)name, (char *)options, json_out, &wait);
}
