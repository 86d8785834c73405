/* echo.c - a stream server and its client, in blocking calls.
 *
 *   cc echo.c $(pkg-config --cflags --libs libp2pgo) -o echo
 *   ./echo serve                  prints its addresses, then echoes what it is sent
 *   ./echo dial ADDRESS TEXT      sends TEXT, prints what comes back */
#include <libp2p.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const protocol = "/examples/echo/1.0.0";
/* On this machine only; name an interface's address, or 0.0.0.0, to be reached from others. */
static const char *const listening = "{\"listen\": [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]}";

static int64_t check(int64_t result, const char *doing)
{
    if (result < 0) {
        fprintf(stderr, "echo: %s: %s\n", doing, p2p_last_error());
        exit(1);
    }
    return result;
}

/* One thread per stream: read until the peer has closed its side, then close ours. A failure concerns this stream alone. */
static void *echo(void *argument)
{
    p2p_handle stream = *(p2p_handle *)argument;
    const p2p_call forever = {.size = sizeof forever, .timeout_ms = -1};
    uint8_t data[16384];
    int64_t n;
    free(argument);
    while ((n = p2p_stream_read(stream, data, sizeof data, &forever)) > 0 && p2p_stream_write(stream, data, (size_t)n, &forever) == n) {}
    if (n != 0) fprintf(stderr, "echo: %s\n", p2p_last_error());
    p2p_close(stream);
    return NULL;
}

static void serve(p2p_handle node)
{
    p2p_handle queue, service;
    char *addresses;
    check(p2p_queue_new(0, &queue), "queue");
    check(p2p_stream_serve(node, protocol, NULL, queue, 0, &service), "serve");
    check(p2p_node_addresses(node, &addresses), "addresses");
    printf("%s\n\n", addresses);
    fflush(stdout);
    p2p_free(addresses);

    p2p_event event;
    uint8_t text[4096];
    while (check(p2p_queue_poll(queue, &event, 1, text, sizeof text, -1), "poll") >= 0) {
        pthread_t thread;
        p2p_handle *stream = malloc(sizeof *stream);
        if (event.type != P2P_EVENT_STREAM || !stream) { free(stream); continue; }
        *stream = event.object;
        if (pthread_create(&thread, NULL, echo, stream) == 0) pthread_detach(thread);
        else { p2p_stream_reset(*stream, 0); p2p_close(*stream); free(stream); }
    }
}

static void dial(p2p_handle node, const char *address, const char *text)
{
    p2p_handle stream;
    char *peer;
    uint8_t data[16384];
    int64_t n;
    check(p2p_peer_connect(node, address, &peer, NULL), "connect");
    check(p2p_stream_open(node, peer, protocol, NULL, &stream, NULL), "open");
    check(p2p_stream_write(stream, (const uint8_t *)text, strlen(text), NULL), "write");
    check(p2p_stream_close_write(stream, NULL), "close");
    while ((n = check(p2p_stream_read(stream, data, sizeof data, NULL), "read")) > 0) fwrite(data, 1, (size_t)n, stdout);
    putchar('\n');
    p2p_free(peer);
    p2p_close(stream);
}

int main(int argc, char **argv)
{
    const int serving = argc == 2 && strcmp(argv[1], "serve") == 0;
    const int dialling = argc == 4 && strcmp(argv[1], "dial") == 0;
    if (!serving && !dialling) return fprintf(stderr, "usage: echo serve | echo dial ADDRESS TEXT\n"), 2;

    p2p_handle config, node;
    check(p2p_config_new(dialling ? "{\"listen\": []}" : listening, &config), "config");
    check(p2p_node_new(config, 0, 0, &node, NULL), "node");
    if (serving) serve(node);
    else dial(node, argv[2], argv[3]);
    p2p_close(node);
    p2p_close(config);
    return 0;
}
