/* Header section Pubsub. */
#include "_cgo_export.h"

int p2p_topic_join(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *topic_out)
{
    CLEAR(topic_out);
    ENTER();
    NEED(topic_out);
    NEED(name);
    return go_topic_join(node, (char *)name, (char *)options, queue, tag, topic_out);
}

int p2p_topic_publish(p2p_handle topic, const uint8_t *data, size_t len, int32_t min_peers, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    if (min_peers < 0)
        return error_fmt(P2P_E_INVALID, "min_peers: %d is negative", min_peers);
    return go_topic_publish(topic, (uint8_t *)data, len, min_peers, &wait);
}

int p2p_topic_subscribe(p2p_handle topic, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *subscription_out)
{
    CLEAR(subscription_out);
    ENTER();
    NEED(subscription_out);
    return go_topic_subscribe(topic, (char *)options, queue, tag, subscription_out);
}

int p2p_topic_peers(p2p_handle topic, char **peers_out)
{
    CLEAR(peers_out);
    ENTER();
    NEED(peers_out);
    return go_topic_peers(topic, peers_out);
}
