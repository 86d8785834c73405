/* Header section Requests. */
#include "_cgo_export.h"

int p2p_request_send(p2p_handle node, const char *peer, const char *protocol, const uint8_t *data, size_t len, const char *options,
                     uint8_t **answer_out, size_t *answer_len_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(answer_out);
    CLEAR(answer_len_out);
    ENTER();
    NEED(peer);
    NEED(protocol);
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    NEED_OUT(&wait, answer_out);
    NEED_OUT(&wait, answer_len_out);
    return go_request_send(node, (char *)peer, (char *)protocol, (uint8_t *)data, len, (char *)options, answer_out, answer_len_out, &wait);
}

int p2p_request_open(p2p_handle node, const char *peer, const char *protocol, const uint8_t *data, size_t len, const char *options,
                     p2p_handle *exchange_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(exchange_out);
    ENTER();
    NEED(peer);
    NEED(protocol);
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    NEED_OUT(&wait, exchange_out);
    return go_request_open(node, (char *)peer, (char *)protocol, (uint8_t *)data, len, (char *)options, exchange_out, &wait);
}

int p2p_request_next(p2p_handle exchange, uint8_t **part_out, size_t *part_len_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(part_out);
    CLEAR(part_len_out);
    ENTER();
    WAIT(call, &wait);
    NEED_OUT(&wait, part_out);
    NEED_OUT(&wait, part_len_out);
    return go_request_next(exchange, part_out, part_len_out, &wait);
}

int p2p_request_serve(p2p_handle node, const char *protocol, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *service_out)
{
    CLEAR(service_out);
    ENTER();
    NEED(service_out);
    NEED(protocol);
    return go_request_serve(node, (char *)protocol, (char *)options, queue, tag, service_out);
}

int p2p_request_respond(p2p_handle request, const uint8_t *data, size_t len, int more, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    return go_request_respond(request, (uint8_t *)data, len, more != 0, &wait);
}

int p2p_request_fail(p2p_handle request, int32_t code, const char *words)
{
    ENTER();
    NEED(words);
    if (code < 0)
        return error_fmt(P2P_E_INVALID, "code: %d is negative", code);
    return go_request_fail(request, code, (char *)words);
}
