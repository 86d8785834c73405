/* Header section Library. */
#include <stdlib.h>

#include "_cgo_export.h"

int p2p_abi(void)
{
    return P2P_ABI;
}

const char *p2p_version(void)
{
    return P2P_VERSION;
}

int p2p_build_info(char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_build_info(json_out);
}

void p2p_free(void *block)
{
    free(block);
}

int p2p_log_level(const char *subsystem, const char *level)
{
    ENTER();
    NEED(subsystem);
    NEED(level);
    return go_log_level((char *)subsystem, (char *)level);
}

int p2p_log_queue(p2p_handle queue, uint64_t tag)
{
    ENTER();
    return go_log_queue(queue, tag);
}

int p2p_log_fd(int fd, const char *options)
{
    ENTER();
    return go_log_fd(fd, (char *)options);
}

int p2p_log_file(const char *path, const char *options)
{
    ENTER();
    return go_log_file((char *)path, (char *)options);
}

int p2p_crash_file(const char *path)
{
    ENTER();
    return go_crash_file((char *)path);
}

int p2p_runtime_tune(int32_t threads, int64_t heap_bytes)
{
    ENTER();
    return go_runtime_tune(threads, heap_bytes);
}

int p2p_runtime_info(char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_runtime_info(json_out);
}

int64_t p2p_live_handles(int kind)
{
    ENTER();
    if (kind < 0 || kind > P2P_KIND_RESERVATION)
        return error_fmt(P2P_E_INVALID, "kind: %d is no P2P_KIND_", kind);
    if (kind == P2P_KIND_QUEUE)
        return queue_live();
    return go_live_handles(kind) + (kind == 0 ? queue_live() : 0);
}
