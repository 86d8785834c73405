/* request.c - questions and answers: one answer (upper) or a stream of them (count).
 *
 *   cc request.c $(pkg-config --cflags --libs libp2pgo) -o request
 *   ./request serve                         prints its addresses, then answers
 *   ./request ask ADDRESS upper TEXT        prints TEXT in upper case
 *   ./request ask ADDRESS count N           prints 1 to N, each an answer of its own */
#include <ctype.h>
#include <libp2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* On this machine only; name an interface's address, or 0.0.0.0, to be reached from others. */
static const char *const listening = "{\"listen\": [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]}";
enum { UPPER = 1, COUNT = 2 }; /* tags: which service an event belongs to */

static int check(int result, const char *doing)
{
    if (result < 0) {
        fprintf(stderr, "request: %s: %s\n", doing, p2p_last_error());
        exit(1);
    }
    return result;
}

static int answer_upper(p2p_handle request, uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) text[i] = (uint8_t)toupper(text[i]);
    return p2p_request_respond(request, text, len, 0, NULL);
}

/* The event's bytes end where data_length says: only texts are followed by a NUL. */
static int answer_count(p2p_handle request, const uint8_t *data, size_t len)
{
    char text[16] = "";
    int n = 0, rc = 0;
    if (len < sizeof text) n = atoi(memcpy(text, data, len));
    if (n < 1) return p2p_request_fail(request, 1, "count: want a number above 0");
    for (int i = 1; i <= n && rc >= 0; i++) {
        int digits = snprintf(text, sizeof text, "%d", i);
        rc = p2p_request_respond(request, (const uint8_t *)text, (size_t)digits, i < n, NULL);
    }
    return rc;
}

static void serve(p2p_handle node)
{
    p2p_handle queue, service;
    char *addresses;
    check(p2p_queue_new(0, &queue), "queue");
    check(p2p_request_serve(node, "/examples/request/upper/1.0.0", "{\"max_request\": 65536}", queue, UPPER, &service), "serve upper");
    check(p2p_request_serve(node, "/examples/request/count/1.0.0", "{\"max_request\": 16}", queue, COUNT, &service), "serve count");
    check(p2p_node_addresses(node, &addresses), "addresses");
    printf("%s\n\n", addresses);
    fflush(stdout);
    p2p_free(addresses);

    static uint8_t data[65536 + 4096];
    p2p_event event;
    while (check(p2p_queue_poll(queue, &event, 1, data, sizeof data, -1), "poll") >= 0) {
        if (event.type != P2P_EVENT_REQUEST) continue;
        uint8_t *question = data + event.data_offset;
        int rc = event.tag == UPPER ? answer_upper(event.object, question, event.data_length)
                                    : answer_count(event.object, question, event.data_length);
        if (rc < 0) fprintf(stderr, "request: %s\n", p2p_last_error());
        p2p_close(event.object); /* it is closed already unless the answer failed */
    }
}

static void ask(p2p_handle node, const char *address, const char *what, const char *text)
{
    char *peer;
    uint8_t *answer;
    size_t len;
    const uint8_t *question = (const uint8_t *)text;
    check(p2p_peer_connect(node, address, &peer, NULL), "connect");
    if (strcmp(what, "upper") == 0) {
        check(p2p_request_send(node, peer, "/examples/request/upper/1.0.0", question, strlen(text), NULL, &answer, &len, NULL), what);
        printf("%.*s\n", (int)len, (const char *)answer);
        p2p_free(answer);
    } else {
        p2p_handle exchange;
        check(p2p_request_open(node, peer, "/examples/request/count/1.0.0", question, strlen(text), NULL, &exchange, NULL), what);
        while (check(p2p_request_next(exchange, &answer, &len, NULL), what) == 1) {
            printf("%.*s\n", (int)len, (const char *)answer);
            p2p_free(answer);
        }
        p2p_close(exchange);
    }
    p2p_free(peer);
}

int main(int argc, char **argv)
{
    const int serving = argc == 2 && strcmp(argv[1], "serve") == 0;
    const int asking = argc == 5 && strcmp(argv[1], "ask") == 0 && (strcmp(argv[3], "upper") == 0 || strcmp(argv[3], "count") == 0);
    if (!serving && !asking) return fprintf(stderr, "usage: request serve | request ask ADDRESS upper TEXT | request ask ADDRESS count N\n"), 2;

    p2p_handle config, node;
    check(p2p_config_new(asking ? "{\"listen\": []}" : listening, &config), "config");
    check(p2p_node_new(config, 0, 0, &node, NULL), "node");
    if (serving) serve(node);
    else ask(node, argv[2], argv[3], argv[4]);
    p2p_close(node);
    p2p_close(config);
    return 0;
}
