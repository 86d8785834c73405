/* The actor in C; README.md lists what it does. Orders are carried out one after the other. */
#define _GNU_SOURCE 1
#include <ctype.h>
#include <libp2p.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ECHO "/lab/echo/1"
#define MAX_NODES 64
#define MAX_LABELS 16
#define MAX_MESSAGES 100000

/* Tags of events: which of these, and below it the node's number. */
#define OF_NODE 1000U
#define OF_TOPIC 2000U
#define OF_ECHO 3000U

static struct {
    p2p_handle node, topic;
    unsigned char *heard[MAX_LABELS]; /* how often each message, by number */
} nodes[MAX_NODES];
static int node_count;
static char labels[MAX_LABELS][32];
static int label_count;
static p2p_handle queue;
static FILE *console; /* stdout is the answer while an order is carried out */

/* ---- JSON: orders are flat objects; texts in them hold no escapes but \n, \" and \\. */

/* The raw value of "key": its length, 0 if there is none. */
static int value_of(const char *json, const char *key, const char **value)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(json, quoted);
    if (!at) return 0;
    at += strlen(quoted);
    *value = at;
    int depth = 0, in_text = 0;
    for (; *at; at++) {
        if (in_text) {
            if (*at == '\\') at++;
            else if (*at == '"') in_text = 0;
        } else if (*at == '"') in_text = 1;
        else if (*at == '{' || *at == '[') depth++;
        else if (*at == '}' || *at == ']') {
            if (depth-- == 0) break;
        } else if (*at == ',' && depth == 0) break;
    }
    return (int)(at - *value);
}

static const char *text_of(const char *json, const char *key)
{
    static char texts[4][8192];
    static int turn;
    char *out = texts[turn++ % 4], *to = out;
    const char *value;
    const int len = value_of(json, key, &value);
    for (int i = 1; i < len - 1 && to < out + sizeof texts[0] - 1; i++) {
        if (value[i] == '\\') {
            i++;
            *to++ = value[i] == 'n' ? '\n' : value[i];
        } else {
            *to++ = value[i];
        }
    }
    *to = 0;
    return out;
}

static long number_of(const char *json, const char *key, long otherwise)
{
    const char *value;
    if (!value_of(json, key, &value)) return otherwise;
    return *value == 't' ? 1 : atol(value);
}

static void print_text(const char *text, size_t len)
{
    putchar('"');
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') printf("\\%c", c);
        else if (c < 0x20) printf("\\u%04x", c);
        else putchar(c);
    }
    putchar('"');
}

/* Lines of text as a list. */
static void print_list(const char *text, size_t len)
{
    const char *end = text + len, *separator = "";
    putchar('[');
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        fputs(separator, stdout);
        print_text(text, (size_t)(stop - text));
        separator = ", ";
        text = stop + 1;
    }
    putchar(']');
}

/* ---- events */

static const char *name_of(int type)
{
    switch (type) {
    case P2P_EVENT_PEER_CONNECTED: return "peer_connected";
    case P2P_EVENT_PEER_DISCONNECTED: return "peer_disconnected";
    case P2P_EVENT_PEER_PATH: return "peer_path";
    case P2P_EVENT_PEER_FOUND: return "peer_found";
    case P2P_EVENT_PEER_UNREACHABLE: return "peer_unreachable";
    case P2P_EVENT_ADDRESSES: return "addresses";
    default: return "other";
    }
}

static int label_number(const char *label, size_t len)
{
    for (int i = 0; i < label_count; i++)
        if (strlen(labels[i]) == len && !memcmp(labels[i], label, len)) return i;
    if (label_count == MAX_LABELS || len >= sizeof labels[0]) abort();
    memcpy(labels[label_count], label, len);
    return label_count++;
}

static void hear(int node, const char *data, size_t len)
{
    char text[64];
    const char *space = memchr(data, ' ', len);
    if (!space || len >= sizeof text) abort();
    const int label = label_number(data, (size_t)(space - data));
    snprintf(text, sizeof text, "%.*s", (int)(len - (size_t)(space + 1 - data)), space + 1);
    const int number = atoi(text);
    if (number < 0 || number >= MAX_MESSAGES) abort();
    if (!nodes[node].heard[label]) nodes[node].heard[label] = calloc(MAX_MESSAGES, 1);
    nodes[node].heard[label][number]++;
}

static void take(const p2p_event *event, const uint8_t *block)
{
    const char *text = (const char *)block + event->text_offset, *data = (const char *)block + event->data_offset;
    if (event->type == P2P_EVENT_MESSAGE) {
        hear((int)(event->tag - OF_TOPIC), data, event->data_length);
    } else if (event->type == P2P_EVENT_REQUEST) {
        p2p_request_respond(event->object, (const uint8_t *)data, event->data_length, 0, NULL);
    } else if (event->tag >= OF_NODE && event->tag < OF_TOPIC) {
        const size_t first = strcspn(text, "\n");
        printf("{\"event\": {\"node\": %d, \"type\": \"%s\", \"status\": %d, \"peer\": ", (int)(event->tag - OF_NODE), name_of(event->type), event->status);
        print_text(text, first);
        printf(", \"relayed\": %s, \"limited\": %s, \"lines\": ", event->flags & P2P_FLAG_RELAYED ? "true" : "false",
               event->flags & P2P_FLAG_LIMITED ? "true" : "false");
        print_list(text, event->text_length);
        puts("}}");
    }
}

static void take_events(void)
{
    static p2p_event events[256];
    static uint8_t block[1 << 20];
    FILE *answering = stdout;
    int n;
    stdout = console;
    while ((n = p2p_queue_poll(queue, events, 256, block, sizeof block, 0)) > 0)
        for (int i = 0; i < n; i++) take(&events[i], block);
    fflush(stdout);
    stdout = answering;
}

/* ---- orders: each prints its answer, or returns an error */

static int start(const char *order)
{
    const char *options;
    const int len = value_of(order, "options", &options);
    char *json = strndup(options, (size_t)len);
    p2p_handle config;
    int error = p2p_config_new(json, &config);
    free(json);
    if (error < 0) return error;
    const int first = node_count;
    for (long n = number_of(order, "nodes", 1); n > 0 && node_count < MAX_NODES; n--, node_count++) {
        p2p_handle service;
        error = p2p_node_new(config, queue, OF_NODE + (unsigned)node_count, &nodes[node_count].node, NULL);
        if (error >= 0) error = p2p_request_serve(nodes[node_count].node, ECHO, NULL, queue, OF_ECHO + (unsigned)node_count, &service);
        if (error < 0) break;
    }
    p2p_close(config);
    if (error < 0) return error;
    putchar('[');
    for (int i = first; i < node_count; i++) {
        char *id, *addresses;
        p2p_node_id(nodes[i].node, &id);
        p2p_node_addresses(nodes[i].node, &addresses);
        printf("%s{\"id\": \"%s\", \"addresses\": ", i > first ? ", " : "", id);
        print_list(addresses, strlen(addresses));
        putchar('}');
        p2p_free(id);
        p2p_free(addresses);
    }
    putchar(']');
    return 0;
}

static int publish(const char *order)
{
    const char *label = text_of(order, "label");
    const long first = number_of(order, "first", 0), count = number_of(order, "count", 0), pause_ms = number_of(order, "pause_ms", 0);
    for (long n = first; n < first + count; n++) {
        char data[64];
        const int len = snprintf(data, sizeof data, "%s %ld", label, n);
        const int64_t error = p2p_topic_publish(nodes[n % node_count].topic, (uint8_t *)data, (size_t)len, 0, NULL);
        if (error < 0) return (int)error;
        take_events();
        usleep((useconds_t)pause_ms * 1000);
    }
    fputs("null", stdout);
    return 0;
}

static int subscribe(const char *order)
{
    for (int i = 0; i < node_count; i++) {
        p2p_handle subscription;
        int error = p2p_topic_join(nodes[i].node, text_of(order, "topic"), NULL, 0, 0, &nodes[i].topic);
        if (error >= 0) error = p2p_topic_subscribe(nodes[i].topic, NULL, queue, OF_TOPIC + (unsigned)i, &subscription);
        if (error < 0) return error;
    }
    fputs("null", stdout);
    return 0;
}

static void members(void)
{
    putchar('[');
    for (int i = 0; i < node_count; i++) {
        char *peers;
        int n = 0;
        if (p2p_topic_peers(nodes[i].topic, &peers) < 0) abort();
        for (const char *at = peers; *at; n++) at += strcspn(at, "\n"), at += *at == '\n';
        p2p_free(peers);
        printf("%s%d", i ? ", " : "", n);
    }
    putchar(']');
}

static void counters(void)
{
    putchar('[');
    for (int i = 0; i < node_count; i++) {
        char *json;
        if (p2p_info(nodes[i].topic, &json) < 0) abort();
        printf("%s%s", i ? ", " : "", json);
        p2p_free(json);
    }
    putchar(']');
}

static void heard(const char *order)
{
    const char *name = text_of(order, "label");
    const int label = label_number(name, strlen(name));
    putchar('[');
    for (int i = 0; i < node_count; i++) {
        int distinct = 0, all = 0;
        for (int n = 0; n < MAX_MESSAGES && nodes[i].heard[label]; n++) {
            distinct += nodes[i].heard[label][n] > 0;
            all += nodes[i].heard[label][n];
        }
        printf("%s[%d, %d]", i ? ", " : "", distinct, all);
    }
    putchar(']');
}

static int obey(const char *order)
{
    const char *verb = text_of(order, "do");
    const p2p_handle node = nodes[number_of(order, "node", 0)].node;
    char *out = NULL;
    int error = 0;
    if (!strcmp(verb, "start")) return start(order);
    if (!strcmp(verb, "publish")) return publish(order);
    if (!strcmp(verb, "subscribe")) return subscribe(order);
    if (!strcmp(verb, "members")) return members(), 0;
    if (!strcmp(verb, "counters")) return counters(), 0;
    if (!strcmp(verb, "heard")) return heard(order), 0;
    if (!strcmp(verb, "connect")) {
        if ((error = p2p_peer_connect(node, text_of(order, "to"), &out, NULL)) >= 0) print_text(out, strlen(out));
    } else if (!strcmp(verb, "addresses")) {
        if ((error = p2p_node_addresses(node, &out)) >= 0) print_list(out, strlen(out));
    } else if (!strcmp(verb, "peers")) {
        if ((error = p2p_peer_list(node, &out)) >= 0) print_list(out, strlen(out));
    } else if (!strcmp(verb, "peer")) {
        if ((error = p2p_peer_info(node, text_of(order, "peer"), &out)) >= 0) fputs(out, stdout);
    } else if (!strcmp(verb, "info")) {
        if ((error = p2p_info(node, &out)) >= 0) fputs(out, stdout);
    } else if (!strcmp(verb, "nat")) {
        if ((error = p2p_nat_info(node, &out)) >= 0) fputs(out, stdout);
    } else if (!strcmp(verb, "relay")) {
        if ((error = p2p_relay_info(node, &out)) >= 0) fputs(out, stdout);
    } else if (!strcmp(verb, "ask")) {
        const char *text = text_of(order, "text");
        const char *options = number_of(order, "allow_limited", 0) ? "{\"allow_limited\": true}" : NULL;
        const p2p_call call = {.size = sizeof call, .timeout_ms = (int32_t)number_of(order, "timeout_ms", 30000)};
        size_t len;
        error = p2p_request_send(node, text_of(order, "peer"), ECHO, (const uint8_t *)text, strlen(text), options, (uint8_t **)&out, &len, &call);
        if (error >= 0) print_text(out, len);
    } else {
        if (!strcmp(verb, "keep")) error = p2p_peer_keep(node, text_of(order, "to"));
        else if (!strcmp(verb, "disconnect")) error = p2p_peer_disconnect(node, text_of(order, "peer"));
        else if (!strcmp(verb, "close")) error = p2p_close(node);
        else abort();
        if (error >= 0) fputs("null", stdout);
    }
    p2p_free(out);
    return error;
}

static void answer(const char *order)
{
    char *said;
    size_t len;
    stdout = open_memstream(&said, &len); /* an answer is one line, or an error instead */
    const int error = obey(order);
    fclose(stdout);
    stdout = console;
    printf("{\"id\": %ld, ", number_of(order, "id", 0));
    if (error < 0) {
        printf("\"error\": {\"code\": \"%s\", \"words\": ", p2p_error_name(error));
        print_text(p2p_last_error(), strlen(p2p_last_error()));
        puts("}}");
    } else {
        printf("\"ok\": %s}\n", said);
    }
    fflush(stdout);
    free(said);
}

int main(void)
{
    static char buffer[1 << 20];
    size_t filled = 0;
    int fd;
    console = stdout;
    if (p2p_queue_new(0, &queue) < 0 || p2p_queue_fd(queue, &fd) < 0) abort();
    for (;;) {
        struct pollfd watched[] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};
        poll(watched, 2, -1);
        if (watched[1].revents) take_events();
        if (!watched[0].revents) continue;
        const ssize_t n = read(STDIN_FILENO, buffer + filled, sizeof buffer - filled - 1);
        if (n <= 0) break;
        filled += (size_t)n;
        buffer[filled] = 0;
        char *line = buffer, *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            answer(line);
            line = end + 1;
        }
        filled -= (size_t)(line - buffer);
        memmove(buffer, line, filled);
    }
    for (int i = 0; i < node_count; i++) p2p_close(nodes[i].node);
    return 0;
}
