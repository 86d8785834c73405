/* chat.c - everybody on one topic; the terminal and the network in ONE poll loop, no threads.
 *
 *   cc chat.c $(pkg-config --cflags --libs libp2pgo) -o chat
 *   ./chat [--listen ADDRESS] [ADDRESS...]      prints its addresses, then what the others say; lines typed here go to all */
#include <libp2p.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static p2p_handle node, topic, queue;
static int unfinished; /* publishes under way */

static int check(int result, const char *doing)
{
    if (result < 0) {
        fprintf(stderr, "chat: %s: %s\n", doing, p2p_last_error());
        exit(1);
    }
    return result;
}

/* Event texts are short enough here to be taken apart in place; the end of a peer id is enough to know somebody by. */
static const char *tail_of_first_line(char *text)
{
    text[strcspn(text, "\n")] = '\0';
    return strlen(text) > 6 ? text + strlen(text) - 6 : text;
}

static void show(const p2p_event *event, uint8_t *block)
{
    char *text = (char *)block + event->text_offset;
    switch (event->type) {
    case P2P_EVENT_MESSAGE:
        if (!(event->flags & P2P_FLAG_LOCAL))
            printf("%s: %.*s\n", tail_of_first_line(text), (int)event->data_length, (const char *)block + event->data_offset);
        break;
    case P2P_EVENT_TOPIC_JOINED: printf("* %s joined\n", tail_of_first_line(text)); break;
    case P2P_EVENT_TOPIC_LEFT: printf("* %s left\n", tail_of_first_line(text)); break;
    case P2P_EVENT_PEER_UNREACHABLE: fprintf(stderr, "chat: %s\n", text); break;
    case P2P_EVENT_DONE: /* a publish, the only call that is not waited for */
        if (event->status < 0) fprintf(stderr, "chat: %s\n", text);
        unfinished--;
        break;
    case P2P_EVENT_DROPPED: printf("* %lld messages were lost here\n", (long long)event->value); break;
    }
}

/* Takes everything that waits in the queue. What does not fit into the block is announced with its size: the block grows. */
static void drain(void)
{
    static uint8_t *block;
    static size_t cap = 65536;
    p2p_event events[64];
    int n;
    if (!block) block = malloc(cap);
    do {
        n = p2p_queue_poll(queue, events, 64, block, cap, 0);
        if (n == P2P_E_TOO_BIG && (block = realloc(block, cap = (size_t)p2p_last_detail()))) continue;
        for (int i = 0; i < check(n, "poll"); i++) show(&events[i], block);
    } while (n != 0);
    fflush(stdout);
}

static void say(char *line, size_t len)
{
    const p2p_call call = {.size = sizeof call, .queue = queue, .tag = 1};
    if (len > 0 && check(p2p_topic_publish(topic, (const uint8_t *)line, len, 0, &call), "publish") == P2P_PENDING) unfinished++;
}

/* Reads what the terminal has and says each whole line. Returns 0 at its end. */
static int listen_to_terminal(void)
{
    static char held[4096];
    static size_t used;
    ssize_t n = read(STDIN_FILENO, held + used, sizeof held - used);
    char *end, *start = held;
    if (n <= 0) return say(held, used), 0;
    used += (size_t)n;
    while ((end = memchr(start, '\n', used))) {
        say(start, (size_t)(end - start));
        used -= (size_t)(end - start) + 1;
        start = end + 1;
    }
    memmove(held, start, used);
    if (used == sizeof held) say(held, used), used = 0; /* a line longer than that goes out in pieces */
    return 1;
}

int main(int argc, char **argv)
{
    p2p_handle config, subscription;
    char *addresses;
    int first = 1, fd;
    check(p2p_config_new("{\"listen\": [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]}", &config), "config");
    if (argc > 2 && strcmp(argv[1], "--listen") == 0) {
        check(p2p_config_set(config, "listen", argv[2]), "--listen");
        first = 3;
    }
    check(p2p_queue_new(0, &queue), "queue");
    check(p2p_node_new(config, queue, 0, &node, NULL), "node");
    check(p2p_topic_join(node, "examples-chat", NULL, queue, 0, &topic), "join");
    check(p2p_topic_subscribe(topic, NULL, queue, 0, &subscription), "subscribe");
    check(p2p_node_addresses(node, &addresses), "addresses");
    printf("%s\n\n", addresses);
    fflush(stdout);
    p2p_free(addresses);

    for (int i = first; i < argc; i++) check(p2p_peer_keep(node, argv[i]), "keep"); /* connects, and again whenever lost */

    check(p2p_queue_fd(queue, &fd), "descriptor");
    struct pollfd ready[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (ready[1].fd >= 0 || unfinished > 0) {
        if (poll(ready, 2, -1) < 0) continue; /* a signal */
        if (ready[0].revents) drain();
        if (ready[1].revents && !listen_to_terminal()) ready[1].fd = -1; /* poll ignores it from now on */
    }
    close(fd);
    p2p_close(node);
    p2p_close(queue);
    p2p_close(config);
    return 0;
}
