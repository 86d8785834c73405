/* What the library costs a C program by itself: loading it, a first node, memory, a call, an event. It is loaded with dlopen, so that
 * loading can be timed. Usage: local LIBRARY EVENTS */
#include <dlfcn.h>
#include <libp2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *library;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* find writes the address of a function of the library through a pointer to its type, the one way that ISO C leaves for dlsym. */
static void find(const char *name, void *function_out)
{
    void *symbol = dlsym(library, name);

    if (symbol == NULL) {
        fprintf(stderr, "local: %s\n", dlerror());
        exit(1);
    }
    memcpy(function_out, &symbol, sizeof symbol);
}

static double resident_mib(void)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmRSS: %lf", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kib / 1024;
}

static int (*abi)(void);
static int (*kind)(p2p_handle);
static int (*config_new)(const char *, p2p_handle *);
static int (*config_set)(p2p_handle, const char *, const char *);
static int (*node_new)(p2p_handle, p2p_handle, uint64_t, p2p_handle *, const p2p_call *);
static int (*queue_new)(size_t, p2p_handle *);
static int (*queue_post)(p2p_handle, uint64_t, int64_t, const uint8_t *, size_t);
static int (*queue_poll)(p2p_handle, p2p_event *, int32_t, uint8_t *, size_t, int32_t);
static int (*close_handle)(p2p_handle);

static void find_all(void)
{
    find("p2p_abi", &abi);
    find("p2p_kind", &kind);
    find("p2p_config_new", &config_new);
    find("p2p_config_set", &config_set);
    find("p2p_node_new", &node_new);
    find("p2p_queue_new", &queue_new);
    find("p2p_queue_post", &queue_post);
    find("p2p_queue_poll", &queue_poll);
    find("p2p_close", &close_handle);
}

/* event_ns fills a queue and times how long a program takes to fetch all of it and to look at each event's bytes. */
static double event_ns(int total)
{
    enum { EVENTS = 256, DATA = 256 << 10, SIZE = 100 };
    static p2p_event events[EVENTS];
    static uint8_t data[DATA];
    uint8_t payload[SIZE] = { 1 };
    p2p_handle queue;
    uint64_t sum = 0;
    double start;
    int n, got = 0;

    if (queue_new(1U << 30, &queue) < 0)
        return -1;
    for (int i = 0; i < total; i++)
        if (queue_post(queue, 1, i, payload, SIZE) < 0)
            return -1;
    start = now();
    while (got < total && (n = queue_poll(queue, events, EVENTS, data, DATA, 0)) > 0) {
        for (int i = 0; i < n; i++)
            sum += data[events[i].data_offset];
        got += n;
    }
    start = now() - start;
    close_handle(queue);
    return sum == (uint64_t)total ? start / total * 1e9 : -1;
}

int main(int argc, char **argv)
{
    enum { CALLS = 200000 };
    p2p_handle config, node;
    double start = now(), loaded, first, up, noop_c, noop_go, rss_loaded;

    if (argc != 3) {
        fprintf(stderr, "usage: local LIBRARY EVENTS\n");
        return 2;
    }
    if ((library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL)) == NULL) {
        fprintf(stderr, "local: %s\n", dlerror());
        return 1;
    }
    find_all();
    loaded = now();
    if (abi() != P2P_ABI || config_new(NULL, &config) < 0)
        return 1;
    first = now(); /* the first call that enters Go waits until its packages are initialised */
    rss_loaded = resident_mib();
    if (config_set(config, "listen", "/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/udp/0/quic-v1") < 0 || node_new(config, 0, 0, &node, NULL) < 0)
        return 1;
    up = now();
    printf("{\"load_ms\":%.3f,\"dlopen_ms\":%.3f,\"first_node_ms\":%.3f,\"rss_loaded_mib\":%.1f,\"rss_mib\":%.1f", (first - start) * 1e3,
           (loaded - start) * 1e3, (up - first) * 1e3, rss_loaded, resident_mib());

    for (int i = 0; i < CALLS / 10; i++)
        kind(config);
    start = now();
    for (int i = 0; i < CALLS; i++)
        abi();
    noop_c = (now() - start) / CALLS * 1e9;
    start = now();
    for (int i = 0; i < CALLS; i++)
        kind(config);
    noop_go = (now() - start) / CALLS * 1e9;
    printf(",\"noop_c_ns\":%.1f,\"noop_go_ns\":%.1f,\"event_ns\":%.1f}\n", noop_c, noop_go, event_ns(atoi(argv[2])));
    close_handle(node);
    return 0;
}
