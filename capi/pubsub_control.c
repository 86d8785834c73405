/* Header section Pubsub control. */
#include "_cgo_export.h"

int p2p_topic_publish_batch(p2p_handle topic, const uint8_t *data, size_t len, int32_t min_peers, int *results_out,
                            const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    if (min_peers < 0)
        return error_fmt(P2P_E_INVALID, "min_peers: %d is negative", min_peers);
    return go_topic_publish_batch(topic, (uint8_t *)data, len, min_peers, results_out, &wait);
}

int p2p_topic_score_set(p2p_handle topic, const char *options)
{
    ENTER();
    return go_topic_score_set(topic, (char *)options);
}

int p2p_pubsub_info(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_pubsub_info(node, json_out);
}

int p2p_pubsub_score_set(p2p_handle node, const char *peer, int64_t score)
{
    ENTER();
    NEED(peer);
    return go_pubsub_score_set(node, (char *)peer, score);
}

int p2p_pubsub_block(p2p_handle node, const char *peer)
{
    ENTER();
    NEED(peer);
    return go_pubsub_block(node, (char *)peer);
}

int p2p_pubsub_unblock(p2p_handle node, const char *peer)
{
    ENTER();
    NEED(peer);
    return go_pubsub_unblock(node, (char *)peer);
}

int p2p_pubsub_direct_add(p2p_handle node, const char *addresses)
{
    ENTER();
    NEED(addresses);
    return go_pubsub_direct_add(node, (char *)addresses);
}

int p2p_pubsub_direct_remove(p2p_handle node, const char *peer)
{
    ENTER();
    NEED(peer);
    return go_pubsub_direct_remove(node, (char *)peer);
}

int p2p_pubsub_trace(p2p_handle node, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *trace_out)
{
    CLEAR(trace_out);
    ENTER();
    NEED(trace_out);
    return go_pubsub_trace(node, (char *)options, queue, tag, trace_out);
}
