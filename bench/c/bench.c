/* The C contender of the benchmark: `bench listen` and `bench dial` are the two ends of one pair. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, p2p_last_error());
    exit(1);
}

int64_t need(int64_t result, const char *what)
{
    if (result < 0)
        die(what);
    return result;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void percentiles(double *times, int count, double *p50, double *p99)
{
    *p50 = *p99 = 0;
    if (count == 0)
        return;
    qsort(times, (size_t)count, sizeof *times, ascending);
    *p50 = times[(count - 1) / 2] * 1e6;
    *p99 = times[(int)((count - 1) * 0.99)] * 1e6;
}

static void usage(void)
{
    fprintf(stderr, "usage: bench listen|dial --scenario NAME [--KEY VALUE ...]\n");
    exit(2);
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .scenario = "bulk", .transport = "tcp", .security = "tls", .peer = "", .signing = "sign",
                           .size = 65536, .bytes = 256 << 20, .count = 1000, .inflight = 1, .seconds = 5 };
    if (argc < 2 || argc % 2 != 0)
        usage();
    o->role = argv[1];
    for (int i = 2; i < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];

        if (strcmp(key, "--scenario") == 0) o->scenario = value;
        else if (strcmp(key, "--transport") == 0) o->transport = value;
        else if (strcmp(key, "--security") == 0) o->security = value;
        else if (strcmp(key, "--peer") == 0) o->peer = value;
        else if (strcmp(key, "--signing") == 0) o->signing = value;
        else if (strcmp(key, "--size") == 0) o->size = strtoul(value, NULL, 10);
        else if (strcmp(key, "--bytes") == 0) o->bytes = strtoll(value, NULL, 10);
        else if (strcmp(key, "--count") == 0) o->count = atoi(value);
        else if (strcmp(key, "--inflight") == 0) o->inflight = atoi(value);
        else if (strcmp(key, "--seconds") == 0) o->seconds = atof(value);
        else usage();
    }
}

static p2p_handle start_node(const struct options *o)
{
    p2p_handle config, node;
    int quic = strcmp(o->transport, "quic") == 0;

    need(p2p_config_new(NULL, &config), "config");
    need(p2p_config_set(config, "listen", quic ? "/ip4/127.0.0.1/udp/0/quic-v1" : "/ip4/127.0.0.1/tcp/0"), "listen");
    need(p2p_config_set(config, "security", o->security), "security");
    need(p2p_config_set(config, "pubsub.signing", o->signing), "signing");
    need(p2p_node_new(config, 0, 0, &node, NULL), "node");
    p2p_close(config);
    return node;
}

int main(int argc, char **argv)
{
    struct options o;
    p2p_handle node;
    char *text;

    parse(argc, argv, &o);
    if (p2p_abi() != P2P_ABI) {
        fprintf(stderr, "bench: the library's ABI is %d, the header's %d\n", p2p_abi(), P2P_ABI);
        return 1;
    }
    node = start_node(&o);
    if (strcmp(o.role, "listen") == 0) {
        listen_until_eof(node, &o);
    } else if (strcmp(o.role, "dial") == 0) {
        need(p2p_peer_connect(node, o.peer, &text, NULL), "connect");
        dial(node, text, &o);
        p2p_free(text);
    } else {
        usage();
    }
    p2p_close(node);
    return 0;
}
