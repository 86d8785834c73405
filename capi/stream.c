/* Header section Streams. */
#include "_cgo_export.h"

int p2p_stream_serve(p2p_handle node, const char *protocols, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *service_out)
{
    CLEAR(service_out);
    ENTER();
    NEED(service_out);
    NEED(protocols);
    return go_stream_serve(node, (char *)protocols, (char *)options, queue, tag, service_out);
}

int p2p_stream_open(p2p_handle node, const char *peer, const char *protocols, const char *options, p2p_handle *stream_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(stream_out);
    ENTER();
    NEED(peer);
    NEED(protocols);
    WAIT(call, &wait);
    NEED_OUT(&wait, stream_out);
    return go_stream_open(node, (char *)peer, (char *)protocols, (char *)options, stream_out, &wait);
}

int64_t p2p_stream_read(p2p_handle stream, uint8_t *data, size_t cap, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    WAIT(call, &wait);
    if (!wait.queue)
        NEED_BYTES(data, cap);
    if (cap == 0)
        return error_fmt(P2P_E_INVALID, "cap: 0 bytes hold nothing");
    if (cap > MAX_BYTES)
        return front_length("cap", cap);
    return go_stream_read(stream, data, cap, &wait);
}

int64_t p2p_stream_write(p2p_handle stream, const uint8_t *data, size_t len, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    return go_stream_write(stream, (uint8_t *)data, len, 0, &wait);
}

int p2p_stream_read_message(p2p_handle stream, size_t max, uint8_t **data_out, size_t *len_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    WAIT(call, &wait);
    NEED_OUT(&wait, data_out);
    NEED_OUT(&wait, len_out);
    if (max == 0 || max > MAX_BYTES)
        return front_length("max", max);
    return go_stream_read_message(stream, max, data_out, len_out, &wait);
}

int64_t p2p_stream_write_message(p2p_handle stream, const uint8_t *data, size_t len, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    NEED_BYTES(data, len);
    WAIT(call, &wait);
    return go_stream_write(stream, (uint8_t *)data, len, 1, &wait);
}

int p2p_stream_close_write(p2p_handle stream, const p2p_call *call)
{
    struct front_wait wait;

    ENTER();
    WAIT(call, &wait);
    return go_stream_close_write(stream, &wait);
}

int p2p_stream_close_read(p2p_handle stream)
{
    ENTER();
    return go_stream_close_read(stream);
}

int p2p_stream_reset(p2p_handle stream, uint32_t code)
{
    ENTER();
    return go_stream_reset(stream, code);
}

int p2p_stream_deadline(p2p_handle stream, int32_t read_ms, int32_t write_ms)
{
    ENTER();
    if (read_ms < -1 || write_ms < -1)
        return error_fmt(P2P_E_INVALID, "%s: %d is neither a time nor -1", read_ms < -1 ? "read_ms" : "write_ms",
                         read_ms < -1 ? read_ms : write_ms);
    return go_stream_deadline(stream, read_ms, write_ms);
}

int p2p_stream_watch(p2p_handle stream, p2p_handle queue, uint64_t tag, size_t credit, size_t max_message)
{
    ENTER();
    if (credit > MAX_BYTES)
        return front_length("credit", credit);
    if (max_message > MAX_BYTES)
        return front_length("max_message", max_message);
    return go_stream_watch(stream, queue, tag, credit, max_message);
}

int p2p_stream_credit(p2p_handle stream, size_t bytes)
{
    ENTER();
    if (bytes > MAX_BYTES)
        return front_length("bytes", bytes);
    return go_stream_credit(stream, bytes);
}

int p2p_stream_fd(p2p_handle stream, int *fd_out)
{
    if (fd_out)
        *fd_out = -1;
    ENTER();
    NEED(fd_out);
    return go_stream_fd(stream, fd_out);
}
