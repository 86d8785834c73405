#include "front.h"

#include <inttypes.h>

#define DEFAULT_TIMEOUT_MS 30000

int front_forked(void)
{
    return error_fmt(P2P_E_FORKED, "this process is a fork of one that loaded libp2pgo; start it with spawn or load the library after the fork");
}

int front_null(const char *name)
{
    return error_fmt(P2P_E_INVALID, "%s: is NULL", name);
}

int front_length(const char *name, size_t len)
{
    return error_fmt(P2P_E_INVALID, "%s: length %zu exceeds %zu", name, len, MAX_BYTES);
}

int front_wait(const p2p_call *call, struct front_wait *wait)
{
    *wait = (struct front_wait){.timeout_ms = DEFAULT_TIMEOUT_MS};
    if (!call)
        return 0;
    if (call->size < sizeof *call)
        return error_fmt(P2P_E_INVALID, "call.size: %" PRIu32 ", expected %zu", call->size, sizeof *call);
    if (call->timeout_ms < -1)
        return error_fmt(P2P_E_INVALID, "call.timeout_ms: %" PRId32 " is neither a time nor -1", call->timeout_ms);
    if (call->timeout_ms != 0)
        wait->timeout_ms = call->timeout_ms;
    wait->named = 1;
    wait->queue = call->queue;
    wait->tag = call->tag;
    return 0;
}

int front_kind(p2p_handle handle, int kind)
{
    static const char *const names[16] = {
        "none",
        [P2P_KIND_QUEUE] = "queue",
        [P2P_KIND_CONFIG] = "config",
        [P2P_KIND_NODE] = "node",
        [P2P_KIND_SERVICE] = "service",
        [P2P_KIND_STREAM] = "stream",
        [P2P_KIND_EXCHANGE] = "exchange",
        [P2P_KIND_REQUEST] = "request",
        [P2P_KIND_TOPIC] = "topic",
        [P2P_KIND_SUBSCRIPTION] = "subscription",
        [P2P_KIND_TOKEN] = "token",
        [P2P_KIND_SEARCH] = "search",
        [P2P_KIND_DISCOVERY] = "discovery",
        [P2P_KIND_RESERVATION] = "reservation",
    };
    const char *is = names[handle & 15U];
    const char *wanted = kind > 0 && kind < 16 && names[kind] ? names[kind] : "handle";

    if (!is || (handle & 15U) == 0 || handle >> 4 < FIRST_ID || handle >> 53)
        return error_fmt(P2P_E_HANDLE, "%" PRIu64 " is no handle, expected a %s", handle, wanted);
    if (kind != 0 && (int)(handle & 15U) != kind)
        return error_fmt(P2P_E_KIND, "handle %" PRIu64 " is a %s, expected a %s", handle, is, wanted);
    return error_fmt(P2P_E_HANDLE, "%s %" PRIu64 " is closed or never was", is, handle);
}
