/* Numbers: metrics as text and JSON, the HTTP endpoint, bandwidth, the perf protocol. */
#include "support.h"

#include <sys/stat.h>

/* The value of the line of a Prometheus text that begins with `series`, as "name" or "name{label=\"value\"}"; -1: there is none. */
static double value_of(const char *text, const char *series)
{
    const size_t length = strlen(series);
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, series, length) == 0 && line[length] == ' ') return atof(line + length + 1);
    return -1;
}

static double metric(p2p_handle node, const char *series)
{
    char *text;
    GOOD(p2p_metrics(node, NULL, &text));
    const double value = value_of(text, series);
    p2p_free(text);
    return value;
}

/* The part of a JSON text between "key":" and the next quote. */
static void text_in(const char *json, const char *key, char value[256])
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
    const char *at = strstr(json, quoted);
    if (!at) FAIL("no %s in %s", key, json);
    at += strlen(quoted);
    snprintf(value, 256, "%.*s", (int)strcspn(at, "\""), at);
}

/* Connects to host:port on loopback; -1 if nobody listens. */
static int dial(const char *address)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *port = strrchr(address, ':');
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && port);
    place.sin_port = htons((uint16_t)atoi(port + 1));
    if (connect(fd, (struct sockaddr *)&place, sizeof place) == 0) return fd;
    close(fd);
    return -1;
}

static char *fetch(const char *address, const char *path)
{
    char request[512];
    const int fd = dial(address);
    CHECK(fd >= 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, address);
    CHECK(write(fd, request, strlen(request)) == (ssize_t)strlen(request));
    size_t size = 1 << 20, have = 0;
    char *answer = malloc(size);
    for (ssize_t n; (n = read(fd, answer + have, size - have - 1)) > 0;) have += (size_t)n;
    answer[have] = '\0';
    close(fd);
    return answer;
}

TEST(metrics__are_the_nodes_own)
{
    struct pair pair = new_pair(TCP);
    p2p_handle idle = new_node(NULL, NULL);
    EVENTUALLY(metric(pair.a, "libp2pgo_connections{transport=\"tcp\",direction=\"outbound\"}") == 1);
    EVENTUALLY(metric(pair.b, "libp2pgo_connections{transport=\"tcp\",direction=\"inbound\"}") == 1);
    EQUAL(metric(pair.a, "libp2pgo_connections{transport=\"tcp\",direction=\"inbound\"}"), 0);
    EVENTUALLY(metric(pair.a, "libp2pgo_dials_total{result=\"ok\"}") == 1);
    EQUAL(metric(idle, "libp2pgo_peers"), 0);
    EQUAL(metric(idle, "libp2pgo_bandwidth_bytes_total{direction=\"in\"}"), 0);
    GOOD(p2p_close(idle));
    close_pair(&pair);
}

TEST(metrics__count_handles_and_queues)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), topic, subscription;
    EQUAL(metric(pair.a, "libp2pgo_handles{kind=\"node\"}"), 1);
    EQUAL(metric(pair.a, "libp2pgo_handles{kind=\"topic\"}"), 0);
    GOOD(p2p_topic_join(pair.a, "t", NULL, queue, 0, &topic));
    GOOD(p2p_topic_subscribe(topic, NULL, queue, 0, &subscription));
    EQUAL(metric(pair.a, "libp2pgo_handles{kind=\"topic\"}"), 1);
    EQUAL(metric(pair.a, "libp2pgo_handles{kind=\"subscription\"}"), 1);
    EQUAL(metric(pair.b, "libp2pgo_handles{kind=\"topic\"}"), 0);
    const double events = metric(pair.a, "libp2pgo_process_queue_events");
    GOOD(p2p_queue_post(queue, 0, 0, NULL, 0));
    CHECK(metric(pair.a, "libp2pgo_process_queue_events") >= events + 1);
    CHECK(metric(pair.a, "libp2pgo_process_queues") >= 1);
    const double pushed = metric(pair.a, "libp2pgo_process_queue_pushed_total");
    GOOD(p2p_close(queue));
    CHECK(metric(pair.a, "libp2pgo_process_queue_pushed_total") >= pushed); /* a counter does not go back when a queue is closed */
    close_pair(&pair);
}

TEST(metrics_json__has_the_same_names)
{
    p2p_handle node = new_node(NULL, NULL);
    char *text, *json, id[128], quoted[256];
    copy_id(node, id);
    GOOD(p2p_metrics(node, "prometheus", &text));
    GOOD(p2p_metrics(node, "json", &json));
    CONTAINS(json, id);
    int families = 0;
    for (const char *at = text; (at = strstr(at, "# TYPE ")); families++) {
        at += 7;
        snprintf(quoted, sizeof quoted, "\"%.*s\":", (int)strcspn(at, " "), at);
        CONTAINS(json, quoted);
    }
    CHECK(families > 40);
    p2p_free(text);
    p2p_free(json);
    GOOD(p2p_close(node));
}

TEST(metrics_serve__answers_over_http_and_gives_its_port_back)
{
    p2p_handle node = new_node(NULL, NULL), service, second = 5;
    char *json, *answer, address[256];
    GOOD(p2p_metrics_serve(node, NULL, NULL, &service));
    EQUAL(p2p_kind(service), P2P_KIND_SERVICE);
    GOOD(p2p_info(service, &json));
    text_in(json, "address", address);
    p2p_free(json);
    CONTAINS(address, "127.0.0.1:");
    answer = fetch(address, "/metrics");
    CONTAINS(answer, "200 OK");
    CONTAINS(answer, "\nlibp2pgo_node_info{");
    free(answer);
    answer = fetch(address, "/metrics.json");
    CONTAINS(answer, "\"libp2pgo_node_info\"");
    free(answer);
    ERROR(p2p_metrics_serve(node, address, NULL, &second), P2P_E_LISTEN);
    CONTAINS(p2p_last_error(), address);
    EQUAL(second, 0);
    GOOD(p2p_close(service));
    CHECK(dial(address) < 0);
    GOOD(p2p_metrics_serve(node, address, NULL, &second)); /* the port is free again */
    GOOD(p2p_close(node));
    CHECK(dial(address) < 0);
}

TEST(bandwidth_info__counts_what_a_stream_carries)
{
    struct pair pair = new_pair(TCP);
    p2p_handle near, far;
    uint8_t block[10000] = {0};
    char *json;
    new_stream(&pair, &near, &far);
    GOOD(p2p_stream_write(near, block, sizeof block, NULL));
    for (size_t have = 0; have < sizeof block;) have += (size_t)GOOD(p2p_stream_read(far, block, sizeof block, NULL));
    GOOD(p2p_bandwidth_info(pair.b, &json));
    CONTAINS(json, pair.a_id);
    const char *protocol = strstr(json, "\"/test/1.0.0\"");
    CHECK(protocol != NULL);
    const int64_t in = number_in(protocol, "in");
    if (in < (int64_t)sizeof block || in > (int64_t)sizeof block + 100) FAIL("%lld bytes came in", (long long)in);
    p2p_free(json);
    GOOD(p2p_close(near));
    GOOD(p2p_close(far));
    close_pair(&pair);
    p2p_handle node = new_node(NULL, "\"metrics\": {\"bandwidth\": false}");
    ERROR(p2p_bandwidth_info(node, &json), P2P_E_STATE);
    GOOD(p2p_close(node));
}

TEST_OVER(perf__tells_how_long_bytes_take)
{
    struct pair pair = new_pair(over);
    p2p_handle queue = new_queue(), server, second;
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 3);
    char *json;
    GOOD(p2p_perf_serve(pair.b, NULL, &server));
    EQUAL(p2p_kind(server), P2P_KIND_SERVICE);
    ERROR(p2p_perf_serve(pair.b, NULL, &second), P2P_E_EXISTS);
    GOOD(p2p_perf_run(pair.a, pair.b_id, 1000000, 3000000, NULL, &json, NULL));
    EQUAL(number_in(json, "upload_bytes"), 1000000);
    EQUAL(number_in(json, "download_bytes"), 3000000);
    CHECK(number_in(json, "download_bytes_per_second") > 0);
    p2p_free(json);
    EQUAL(p2p_perf_run(pair.a, pair.b_id, 5, 5, NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 3, t);
    EQUAL(number_in(t->text, "upload_bytes"), 5);
    EQUAL(info_number(server, "accepted"), 2);
    ERROR(p2p_perf_run(pair.a, pair.b_id, -1, 0, NULL, &json, NULL), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "upload_bytes");
    ERROR(p2p_perf_run(pair.b, pair.a_id, 1, 1, NULL, &json, NULL), P2P_E_PROTOCOL);
    GOOD(p2p_close(queue));
    close_pair(&pair);
    free(t);
}

TEST(perf__ends_when_cancelled_and_when_its_node_closes)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), server;
    struct taken *t = malloc(sizeof *t);
    const p2p_call first = on(queue, 1), second = on(queue, 2);
    GOOD(p2p_perf_serve(pair.b, NULL, &server));
    EQUAL(p2p_perf_run(pair.a, pair.b_id, 0, (int64_t)8 << 30, NULL, NULL, &first), P2P_PENDING);
    EQUAL(p2p_perf_run(pair.a, pair.b_id, (int64_t)8 << 30, 0, NULL, NULL, &second), P2P_PENDING);
    EVENTUALLY(info_number(server, "open") == 2);
    EQUAL(p2p_cancel(pair.a, 1), 1);
    DONE_ERROR(queue, 1, t, P2P_E_CANCELLED);
    GOOD(p2p_close(pair.a));
    DONE_ERROR(queue, 2, t, P2P_E_CLOSED);
    EVENTUALLY(info_number(server, "open") == 0);
    GOOD(p2p_close(pair.b));
    GOOD(p2p_close(queue));
    free(t);
}

/* Has something logged: a dial that fails. */
static void make_noise(void)
{
    p2p_handle node = new_node(NULL, NULL);
    char *peer;
    ERROR(p2p_peer_connect(node, NOWHERE, &peer, NULL), P2P_E_DIAL);
    GOOD(p2p_close(node));
}

TEST(log_fd__gets_lines_and_may_be_closed_by_its_owner)
{
    int ends[2];
    char text[4097] = "";
    CHECK(pipe(ends) == 0);
    GOOD(p2p_log_fd(ends[1], NULL));
    close(ends[1]);
    GOOD(p2p_log_level("swarm2", "debug"));
    make_noise();
    CHECK(read(ends[0], text, sizeof text - 1) > 0);
    CONTAINS(text, " debug swarm2 ");
    GOOD(p2p_log_fd(-1, NULL));
    while (read(ends[0], text, sizeof text - 1) > 0) {} /* to the end: nobody holds the other one */
    GOOD(p2p_log_level("*", "off"));
    close(ends[0]);
    ERROR(p2p_log_fd(ends[0], NULL), P2P_E_INVALID);
}

TEST(log_fd__that_nobody_reads_holds_nothing_up)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    const int64_t before = runtime_number("log_dropped");
    GOOD(p2p_log_fd(ends[1], "{\"format\": \"json\"}"));
    GOOD(p2p_log_level("*", "debug"));
    for (int i = 0; i < 1000 && runtime_number("log_dropped") == before; i++) make_noise();
    CHECK(runtime_number("log_dropped") > before);
    GOOD(p2p_log_fd(-1, NULL));
    GOOD(p2p_log_level("*", "off"));
    close(ends[0]);
    close(ends[1]);
}

TEST(log_file__is_private_and_complete)
{
    char path[] = "/tmp/libp2pgo-test-XXXXXX", text[8192] = "";
    struct stat state;
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    GOOD(p2p_log_file(path, "{\"format\": \"json\"}"));
    GOOD(p2p_log_level("swarm2", "debug"));
    make_noise();
    GOOD(p2p_log_level("*", "off"));
    GOOD(p2p_log_file(NULL, NULL)); /* all is written */
    CHECK(stat(path, &state) == 0);
    EQUAL(state.st_mode & 0777, 0600);
    FILE *file = fopen(path, "r");
    CHECK(file && fread(text, 1, sizeof text - 1, file) > 0);
    CONTAINS(text, "{\"time\":");
    CONTAINS(text, "\"subsystem\":\"swarm2\"");
    fclose(file);
    close(fd);
    unlink(path);
}

TEST(numbers__leave_nothing_behind)
{
    const long cycles = number_from_environment("NODES", 20);
    int64_t before = 0, descriptors = 0;
    for (long i = -2; i < cycles; i++) {
        p2p_handle node = new_node(NULL, NULL), service;
        char *text, *json, address[256];
        if (i == 0) before = runtime_number("goroutines"), descriptors = runtime_number("file_descriptors");
        GOOD(p2p_metrics_serve(node, NULL, NULL, &service));
        GOOD(p2p_info(service, &json));
        text_in(json, "address", address);
        p2p_free(json);
        free(fetch(address, "/metrics"));
        GOOD(p2p_metrics(node, "json", &text));
        p2p_free(text);
        GOOD(p2p_perf_serve(node, NULL, &service));
        if (i == cycles - 1) {
            GOOD(p2p_close(node));
            break;
        }
        GOOD(p2p_close(node));
    }
    EVENTUALLY(runtime_number("goroutines") <= before + 5);
    EVENTUALLY(runtime_number("file_descriptors") <= descriptors);
}
