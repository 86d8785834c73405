/* Header section Handles. */
#include <inttypes.h>
#include <stdlib.h>

#include "_cgo_export.h"

static int is_queue(p2p_handle handle)
{
    return (handle & 15U) == P2P_KIND_QUEUE;
}

static int close_queue(p2p_handle queue)
{
    p2p_handle *orphans;
    size_t n;
    int code = queue_close(queue, &orphans, &n);

    for (size_t i = 0; i < n; i++)
        go_close(orphans[i]);
    free(orphans);
    return code;
}

int p2p_close(p2p_handle handle)
{
    ENTER();
    return is_queue(handle) ? close_queue(handle) : go_close(handle);
}

int p2p_kind(p2p_handle handle)
{
    int code = 0;
    struct queue *q;

    ENTER();
    if (!is_queue(handle))
        return go_kind(handle);
    if ((q = queue_acquire(handle, &code)) == NULL)
        return code;
    queue_release(q);
    return P2P_KIND_QUEUE;
}

int p2p_parent(p2p_handle handle, p2p_handle *parent_out)
{
    CLEAR(parent_out);
    ENTER();
    NEED(parent_out);
    if (is_queue(handle)) {
        int code = p2p_kind(handle);

        return code < 0 ? code : 0;
    }
    return go_parent(handle, parent_out);
}

int p2p_info(p2p_handle handle, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return is_queue(handle) ? queue_info(handle, json_out) : go_info(handle, json_out);
}

int p2p_cancel(p2p_handle owner, uint64_t tag)
{
    int code = 0;
    struct queue *q;

    ENTER();
    if (!is_queue(owner))
        return go_cancel(owner, tag);
    if ((q = queue_acquire(owner, &code)) == NULL)
        return code;
    queue_release(q);
    return go_cancel_queue(owner, tag);
}

int p2p_answer(p2p_handle token, int verdict)
{
    ENTER();
    if (verdict < P2P_VERDICT_ACCEPT || verdict > P2P_VERDICT_IGNORE)
        return error_fmt(P2P_E_INVALID, "verdict: %d is no P2P_VERDICT_", verdict);
    return go_answer(token, verdict);
}
