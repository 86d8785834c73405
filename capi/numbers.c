/* Header section Numbers. */
#include "_cgo_export.h"

int p2p_metrics(p2p_handle node, const char *format, char **text_out)
{
    CLEAR(text_out);
    ENTER();
    NEED(text_out);
    return go_metrics(node, (char *)format, text_out);
}

int p2p_metrics_serve(p2p_handle node, const char *address, const char *options, p2p_handle *service_out)
{
    CLEAR(service_out);
    ENTER();
    NEED(service_out);
    return go_metrics_serve(node, (char *)address, (char *)options, service_out);
}

int p2p_bandwidth_info(p2p_handle node, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_bandwidth_info(node, json_out);
}

int p2p_perf_serve(p2p_handle node, const char *options, p2p_handle *service_out)
{
    CLEAR(service_out);
    ENTER();
    NEED(service_out);
    return go_perf_serve(node, (char *)options, service_out);
}

int p2p_perf_run(p2p_handle node, const char *peer, int64_t upload_bytes, int64_t download_bytes, const char *options, char **json_out,
                 const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(json_out);
    ENTER();
    NEED(peer);
    WAIT(call, &wait);
    NEED_OUT(&wait, json_out);
    return go_perf_run(node, (char *)peer, upload_bytes, download_bytes, (char *)options, json_out, &wait);
}
