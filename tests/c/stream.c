/* Streams between two nodes, over TCP and QUIC: serve, open, read, write, messages, ends, resets, deadlines, watching, descriptors. */
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

static void send_text(p2p_handle stream, const char *text) { EQUAL(p2p_stream_write(stream, (const uint8_t *)text, strlen(text), NULL), strlen(text)); }

/* Reads until `len` bytes or the end of the flow. */
static size_t read_all(p2p_handle stream, uint8_t *data, size_t len)
{
    size_t have = 0;
    int64_t n;
    while (have < len && (n = GOOD(p2p_stream_read(stream, data + have, len - have, NULL))) > 0) have += (size_t)n;
    return have;
}

static void expect_text(p2p_handle stream, const char *text)
{
    uint8_t data[256] = {0};
    EQUAL(read_all(stream, data, strlen(text)), strlen(text));
    EQUAL_TEXT((char *)data, text);
}

static void expect_end(p2p_handle stream)
{
    uint8_t byte;
    for (int i = 0; i < 2; i++) EQUAL(p2p_stream_read(stream, &byte, 1, NULL), 0);
}

struct ends {
    struct pair pair;
    p2p_handle near, far;
};

static struct ends begin(const char *over)
{
    struct ends ends = {.pair = new_pair(over)};
    new_stream(&ends.pair, &ends.near, &ends.far);
    return ends;
}

static void finish(struct ends *ends)
{
    GOOD(p2p_close(ends->near));
    GOOD(p2p_close(ends->far));
    close_pair(&ends->pair);
}

TEST_OVER(stream__carries_bytes_both_ways)
{
    struct ends s = begin(over);
    send_text(s.near, "over there");
    expect_text(s.far, "over there");
    send_text(s.far, "and back");
    expect_text(s.near, "and back");
    finish(&s);
}

TEST(stream_event__tells_peer_protocol_and_direction)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service, stream, parent;
    struct taken *t = malloc(sizeof *t);
    char *json;
    GOOD(p2p_stream_serve(pair.b, "/one/1.0.0\n/many/*", NULL, queue, 88, &service));
    EQUAL(p2p_kind(service), P2P_KIND_SERVICE);
    GOOD(p2p_stream_open(pair.a, pair.b_id, "/none/1.0.0\n/many/2.0.0", NULL, &stream, NULL));
    wait_event(queue, P2P_EVENT_STREAM, t);
    EQUAL(t->event.tag, 88);
    EQUAL(t->event.subject, service);
    EQUAL(p2p_kind(t->event.object), P2P_KIND_STREAM);
    EQUAL_TEXT(line_of(t, 0), pair.a_id);
    EQUAL_TEXT(line_of(t, 1), "/many/2.0.0");
    CHECK(t->event.flags & P2P_FLAG_INBOUND);
    GOOD(p2p_parent(t->event.object, &parent));
    EQUAL(parent, pair.b);
    GOOD(p2p_info(stream, &json));
    CONTAINS(json, "/many/2.0.0");
    CONTAINS(json, pair.b_id);
    p2p_free(json);
    GOOD(p2p_close(stream));
    GOOD(p2p_close(t->event.object));
    GOOD(p2p_close(service));
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream_open__protocol_that_nobody_serves)
{
    struct pair pair = new_pair(over);
    p2p_handle stream = 3;
    ERROR(p2p_stream_open(pair.a, pair.b_id, "/nobody/1.0.0\n/nobody/2.0.0", NULL, &stream, NULL), P2P_E_PROTOCOL);
    EQUAL(stream, 0);
    CONTAINS(p2p_last_error(), "/nobody/1.0.0");
    close_pair(&pair);
}

TEST(stream_serve__takes_no_name_under_its_prefix_that_is_no_line_of_text)
{
    static const char *const names[] = {"/many/\xff.", "/many/\x01.", "/many/\t.", "/many/\x7f.", "/many/\xc2\x85."}; /* the ends of lines are trimmed */
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service, stream;
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_stream_serve(pair.b, "/many/*", NULL, queue, 0, &service));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) ERROR(p2p_stream_open(pair.a, pair.b_id, names[i], NULL, &stream, NULL), P2P_E_PROTOCOL);
    GOOD(p2p_stream_open(pair.a, pair.b_id, "/many/\xc3\xa4", NULL, &stream, NULL));
    wait_event(queue, P2P_EVENT_STREAM, t);
    EQUAL_TEXT(line_of(t, 1), "/many/\xc3\xa4");
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(stream_open__no_dial_without_a_connection)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service, stream;
    GOOD(p2p_stream_serve(pair.b, "/x/1", NULL, queue, 0, &service));
    GOOD(p2p_peer_disconnect(pair.a, pair.b_id));
    const int64_t result = p2p_stream_open(pair.a, pair.b_id, "/x/1", "{\"no_dial\": true}", &stream, NULL);
    CHECK(result < 0);
    GOOD(p2p_stream_open(pair.a, pair.b_id, "/x/1", NULL, &stream, NULL)); /* dials */
    close_pair(&pair);
    GOOD(p2p_close(queue));
}

TEST(stream_open__completes_with_handle_and_protocol)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service;
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 5);
    GOOD(p2p_stream_serve(pair.b, "/x/1", NULL, queue, 0, &service));
    EQUAL(p2p_stream_open(pair.a, pair.b_id, "/y/1\n/x/1", NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 5, t);
    EQUAL(t->event.subject, pair.a);
    EQUAL(p2p_kind(t->event.object), P2P_KIND_STREAM);
    EQUAL_TEXT(line_of(t, 0), "/x/1");
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(stream_serve__same_name_twice)
{
    p2p_handle node = new_node(NULL, NULL), queue = new_queue(), first, second = 9;
    GOOD(p2p_stream_serve(node, "/x/1\n/y/1", NULL, queue, 0, &first));
    ERROR(p2p_stream_serve(node, "/z/1\n/y/1", NULL, queue, 0, &second), P2P_E_EXISTS);
    EQUAL(second, 0);
    CONTAINS(p2p_last_error(), "/y/1");
    GOOD(p2p_stream_serve(node, "/z/1", NULL, queue, 0, &second)); /* nothing of the failed call stays */
    GOOD(p2p_close(first));
    GOOD(p2p_stream_serve(node, "/y/1", NULL, queue, 0, &first));
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
}

TEST_OVER(stream_serve__closed_service_serves_no_more_but_its_streams_stay)
{
    struct ends s = begin(over); /* the service that accepted it is closed */
    p2p_handle stream;
    uint8_t byte;
    /* Whether the opener has heard already is a race between two peers: if not, its first read tells. */
    int64_t result = p2p_stream_open(s.pair.a, s.pair.b_id, "/test/1.0.0", NULL, &stream, NULL);
    if (result == 0) result = p2p_stream_read(stream, &byte, 1, NULL);
    ERROR(result, P2P_E_PROTOCOL);
    send_text(s.near, "still here");
    expect_text(s.far, "still here");
    finish(&s);
}

TEST(stream_serve__beyond_max_streams_is_reset)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service, first, second;
    struct taken *t = malloc(sizeof *t);
    uint8_t byte;
    GOOD(p2p_stream_serve(pair.b, "/x/1", "{\"max_streams\": 1}", queue, 0, &service));
    GOOD(p2p_stream_open(pair.a, pair.b_id, "/x/1", NULL, &first, NULL));
    wait_event(queue, P2P_EVENT_STREAM, t);
    const p2p_handle accepted = t->event.object;
    if (p2p_stream_open(pair.a, pair.b_id, "/x/1", NULL, &second, NULL) >= 0) {
        ERROR(p2p_stream_read(second, &byte, 1, NULL), P2P_E_RESET);
        EQUAL(p2p_last_detail(), 0x1002);
        GOOD(p2p_close(second));
    }
    GOOD(p2p_close(first));
    GOOD(p2p_close(accepted));
    do { /* until the close of the first has come through */
        GOOD(p2p_stream_open(pair.a, pair.b_id, "/x/1", NULL, &second, NULL));
        send_text(second, "room again");
    } while (!event_within(queue, 100, t) && GOOD(p2p_close(second)) == 0);
    EQUAL(t->event.type, P2P_EVENT_STREAM);
    expect_text(t->event.object, "room again");
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream__half_close_is_seen_and_the_other_half_lives)
{
    struct ends s = begin(over);
    send_text(s.near, "question");
    GOOD(p2p_stream_close_write(s.near, NULL));
    expect_text(s.far, "question");
    expect_end(s.far);
    send_text(s.far, "answer");
    GOOD(p2p_stream_close_write(s.far, NULL));
    expect_text(s.near, "answer");
    expect_end(s.near);
    ERROR(p2p_stream_write(s.near, (const uint8_t *)"x", 1, NULL), P2P_E_STATE);
    finish(&s);
}

TEST_OVER(stream__close_ends_the_peers_reading)
{
    struct ends s = begin(over);
    send_text(s.near, "last words");
    GOOD(p2p_close(s.near));
    expect_text(s.far, "last words");
    expect_end(s.far);
    finish(&s);
}

TEST_OVER(stream_reset__is_not_an_end_and_carries_its_code)
{
    struct ends s = begin(over);
    uint8_t byte;
    send_text(s.near, "x");
    expect_text(s.far, "x");
    GOOD(p2p_stream_reset(s.near, 4711));
    ERROR(p2p_stream_read(s.far, &byte, 1, NULL), P2P_E_RESET);
    EQUAL(p2p_last_detail(), 4711);
    ERROR(p2p_stream_write(s.far, &byte, 1, NULL), P2P_E_RESET);
    CHECK(p2p_stream_read(s.near, &byte, 1, NULL) < 0);
    finish(&s);
}

TEST_OVER(stream_close_read__throws_away_and_writing_goes_on)
{
    struct ends s = begin(over);
    GOOD(p2p_stream_close_read(s.near));
    send_text(s.near, "still writing");
    expect_text(s.far, "still writing");
    finish(&s);
}

TEST_OVER(stream_read__timeout_loses_nothing)
{
    struct ends s = begin(over);
    uint8_t data[16];
    const p2p_call call = within(40);
    for (int i = 0; i < 3; i++) ERROR(p2p_stream_read(s.far, data, sizeof data, &call), P2P_E_TIMEOUT);
    send_text(s.near, "late");
    expect_text(s.far, "late");
    finish(&s);
}

TEST_OVER(stream_deadline__bounds_reads_and_can_be_removed)
{
    struct ends s = begin(over);
    uint8_t byte;
    GOOD(p2p_stream_deadline(s.far, 40, -1));
    ERROR(p2p_stream_read(s.far, &byte, 1, NULL), P2P_E_TIMEOUT);
    ERROR(p2p_stream_read(s.far, &byte, 1, NULL), P2P_E_TIMEOUT);
    GOOD(p2p_stream_deadline(s.far, 0, -1));
    send_text(s.near, "y");
    expect_text(s.far, "y");
    finish(&s);
}

static void *write_much(void *argument)
{
    const p2p_handle stream = *(p2p_handle *)argument;
    static uint8_t block[64 * 1024];
    for (size_t i = 0; i < sizeof block; i++) block[i] = (uint8_t)(i * 7);
    for (int i = 0; i < 256; i++) EQUAL(p2p_stream_write(stream, block, sizeof block, NULL), sizeof block);
    GOOD(p2p_stream_close_write(stream, NULL));
    return NULL;
}

TEST_OVER(stream__sixteen_mebibytes_arrive_whole)
{
    struct ends s = begin(over);
    pthread_t writer;
    static uint8_t data[40000];
    size_t total = 0;
    int64_t n;
    CHECK(pthread_create(&writer, NULL, write_much, &s.near) == 0);
    while ((n = GOOD(p2p_stream_read(s.far, data, sizeof data, NULL))) > 0) {
        for (size_t i = 0; i < (size_t)n; i++) EQUAL(data[i], (uint8_t)(((total + i) % 65536) * 7));
        total += (size_t)n;
    }
    EQUAL(total, 256 * 65536);
    pthread_join(writer, NULL);
    finish(&s);
}

TEST_OVER(stream_write__is_held_back_by_a_peer_that_does_not_read)
{
    struct ends s = begin(over);
    static uint8_t block[1 << 20];
    const p2p_call call = within(300);
    int accepted = 0;
    int64_t n;
    while ((n = p2p_stream_write(s.near, block, sizeof block, &call)) > 0) CHECK(++accepted < 128);
    EQUAL(n, P2P_E_TIMEOUT);
    finish(&s);
}

TEST_OVER(stream_message__keeps_its_bounds)
{
    struct ends s = begin(over);
    uint8_t *data;
    size_t len;
    static uint8_t big[100000]; /* what fits into the peer's window: nobody reads yet */
    memset(big, 'm', sizeof big);
    EQUAL(p2p_stream_write_message(s.near, (const uint8_t *)"first", 5, NULL), 5);
    EQUAL(p2p_stream_write_message(s.near, NULL, 0, NULL), 0);
    EQUAL(p2p_stream_write_message(s.near, big, sizeof big, NULL), sizeof big);
    GOOD(p2p_stream_close_write(s.near, NULL));
    EQUAL(p2p_stream_read_message(s.far, 1 << 20, &data, &len, NULL), 1);
    CHECK(len == 5 && memcmp(data, "first", 5) == 0);
    p2p_free(data);
    EQUAL(p2p_stream_read_message(s.far, 1 << 20, &data, &len, NULL), 1);
    EQUAL(len, 0);
    p2p_free(data);
    EQUAL(p2p_stream_read_message(s.far, sizeof big, &data, &len, NULL), 1);
    CHECK(len == sizeof big && memcmp(data, big, len) == 0);
    p2p_free(data);
    EQUAL(p2p_stream_read_message(s.far, 1 << 20, &data, &len, NULL), 0);
    CHECK(data == NULL);
    finish(&s);
}

TEST_OVER(stream_message__too_big_ends_the_stream_and_not_the_connection)
{
    struct ends s = begin(over);
    uint8_t *data, byte;
    size_t len;
    int64_t rtt;
    EQUAL(p2p_stream_write_message(s.near, (const uint8_t *)"0123456789", 10, NULL), 10);
    ERROR(p2p_stream_read_message(s.far, 9, &data, &len, NULL), P2P_E_TOO_BIG);
    EQUAL(p2p_last_detail(), 10);
    ERROR(p2p_stream_read(s.near, &byte, 1, NULL), P2P_E_RESET);
    GOOD(p2p_peer_ping(s.pair.a, s.pair.b_id, &rtt, NULL));
    finish(&s);
}

TEST(stream_message__of_hostile_length_is_too_big)
{
    static const uint8_t frames[][10] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, /* 2^64 - 1 */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* longer than any number */
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct ends s = begin(TCP);
        uint8_t *data;
        size_t len;
        EQUAL(p2p_stream_write(s.near, frames[i], 10, NULL), 10);
        CHECK(p2p_stream_read_message(s.far, 1 << 20, &data, &len, NULL) < 0);
        finish(&s);
    }
}

TEST_OVER(stream_queue__reads_and_writes_complete)
{
    struct ends s = begin(over);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    p2p_call call = on(queue, 1);
    EQUAL(p2p_stream_read(s.far, NULL, 100, &call), P2P_PENDING);
    char text[] = "copied";
    call.tag = 2;
    const int64_t accepted = GOOD(p2p_stream_write(s.near, (const uint8_t *)text, 6, &call));
    memset(text, 'x', 6);
    DONE_GOOD(queue, 1, t);
    EQUAL(t->event.subject, s.far);
    CHECK(t->len == 6 && memcmp(t->data, "copied", 6) == 0);
    if (accepted == P2P_PENDING) DONE_GOOD(queue, 2, t);
    call.tag = 3;
    EQUAL(p2p_stream_close_write(s.near, &call), P2P_PENDING);
    DONE_GOOD(queue, 3, t);
    call.tag = 4;
    EQUAL(p2p_stream_read(s.far, NULL, 100, &call), P2P_PENDING);
    DONE_GOOD(queue, 4, t);
    EQUAL(t->event.status, 0);
    EQUAL(t->len, 0);
    finish(&s);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream_queue__writes_are_accepted_to_the_high_water_mark)
{
    struct ends s = begin(over);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    static uint8_t block[64 * 1024], data[64 * 1024];
    int accepted = 0;
    int64_t n, total = 0;
    const p2p_call call = on(queue, 5);
    do { /* the network itself takes some before it stands still */
        while ((n = GOOD(p2p_stream_write(s.near, block, sizeof block, &call))) == 0) CHECK(++accepted < 4096);
        EQUAL(n, P2P_PENDING);
        accepted++;
    } while (event_within(queue, 200, t));
    const int64_t sent = (int64_t)accepted * (int64_t)sizeof block;
    while (total < sent) total += GOOD(p2p_stream_read(s.far, data, sizeof data, NULL));
    DONE_GOOD(queue, 5, t);
    EQUAL(total, sent);
    finish(&s);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream_watch__delivers_under_its_credit)
{
    struct ends s = begin(over);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    pthread_t writer;
    size_t unreturned = 0, total = 0;
    GOOD(p2p_stream_watch(s.far, queue, 6, 64 * 1024, 0));
    ERROR(p2p_stream_watch(s.far, queue, 6, 0, 0), P2P_E_STATE);
    CHECK(pthread_create(&writer, NULL, write_much, &s.near) == 0);
    while (unreturned < 64 * 1024) { /* nothing is given back: it must stop there */
        wait_event(queue, P2P_EVENT_STREAM_DATA, t);
        EQUAL(t->event.subject, s.far);
        EQUAL(t->event.tag, 6);
        unreturned += t->len;
        CHECK(unreturned <= 64 * 1024);
    }
    no_event(queue, 100);
    total = unreturned;
    GOOD(p2p_stream_credit(s.far, unreturned));
    for (;;) {
        next_event(queue, t);
        if (t->event.type == P2P_EVENT_STREAM_END) break;
        EQUAL(t->event.type, P2P_EVENT_STREAM_DATA);
        total += t->len;
        GOOD(p2p_stream_credit(s.far, t->len));
    }
    EQUAL(total, 256 * 65536);
    pthread_join(writer, NULL);
    uint8_t byte;
    ERROR(p2p_stream_read(s.far, &byte, 1, NULL), P2P_E_STATE);
    finish(&s);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream_watch__tells_a_reset)
{
    struct ends s = begin(over);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_stream_watch(s.far, queue, 1, 0, 0));
    send_text(s.near, "x");
    wait_event(queue, P2P_EVENT_STREAM_DATA, t);
    GOOD(p2p_stream_reset(s.near, 99));
    wait_event(queue, P2P_EVENT_STREAM_RESET, t);
    EQUAL(t->event.status, P2P_E_RESET);
    EQUAL(t->event.value, 99);
    CHECK(*t->text);
    finish(&s);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream_watch__delivers_messages_one_by_one)
{
    struct ends s = begin(over);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    char text[16];
    GOOD(p2p_stream_watch(s.far, queue, 1, 0, 1000));
    for (int i = 0; i < 100; i++) GOOD(p2p_stream_write_message(s.near, (const uint8_t *)text, (size_t)snprintf(text, sizeof text, "message %d", i), NULL));
    for (int i = 0; i < 100; i++) {
        wait_event(queue, P2P_EVENT_STREAM_DATA, t);
        snprintf(text, sizeof text, "message %d", i);
        CHECK(t->len == strlen(text) && memcmp(t->data, text, t->len) == 0);
    }
    static uint8_t big[1001];
    GOOD(p2p_stream_write_message(s.near, big, sizeof big, NULL));
    wait_event(queue, P2P_EVENT_STREAM_RESET, t);
    EQUAL(t->event.status, P2P_E_TOO_BIG);
    finish(&s);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(stream_watch__deadline_ends_it)
{
    struct ends s = begin(TCP);
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_stream_deadline(s.far, 50, -1));
    GOOD(p2p_stream_watch(s.far, queue, 1, 0, 0));
    wait_event(queue, P2P_EVENT_STREAM_RESET, t);
    EQUAL(t->event.status, P2P_E_TIMEOUT);
    finish(&s);
    GOOD(p2p_close(queue));
    free(t);
}

TEST_OVER(stream_fd__is_a_socket_of_the_stream)
{
    struct ends s = begin(over);
    char text[32] = "";
    int fd;
    GOOD(p2p_stream_fd(s.far, &fd));
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ERROR(p2p_stream_close_write(s.far, NULL), P2P_E_STATE); // it would cut off what the descriptor has taken
    send_text(s.near, "to the socket");
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    EQUAL(poll(&ready, 1, limit_ms()), 1);
    EQUAL(read(fd, text, sizeof text), 13);
    EQUAL_TEXT(text, "to the socket");
    EQUAL(write(fd, "from it", 7), 7);
    EQUAL(shutdown(fd, SHUT_WR), 0);
    expect_text(s.near, "from it");
    expect_end(s.near);
    GOOD(p2p_stream_close_write(s.near, NULL));
    EQUAL(poll(&ready, 1, limit_ms()), 1);
    EQUAL(read(fd, text, sizeof text), 0);
    close(fd);
    ERROR(p2p_stream_fd(s.far, &fd), P2P_E_STATE);
    finish(&s);
}

/* Streams of the tests' own protocol that a node has open. */
static int64_t streams_of(p2p_handle node)
{
    char *json;
    GOOD(p2p_limits_info(node, &json));
    const char *usage = strstr(json, "\"/test/1.0.0\":{");
    const int64_t streams = usage ? number_in(usage, "streams_inbound") + number_in(usage, "streams_outbound") : 0;
    p2p_free(json);
    return streams;
}

/* Waits until the peer has ended its flow. */
static void expect_end_at(int fd)
{
    char byte;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    EQUAL(poll(&ready, 1, limit_ms()), 1);
    EQUAL(read(fd, &byte, 1), 0);
}

TEST_OVER(stream_fd__lives_on_without_its_handle)
{
    struct ends s = begin(over);
    char text[32] = "";
    int fd;
    EQUAL(streams_of(s.pair.b), 1);
    GOOD(p2p_stream_fd(s.far, &fd));
    EQUAL(write(fd, "question", 8), 8);
    EQUAL(shutdown(fd, SHUT_WR), 0);
    expect_text(s.near, "question");
    expect_end(s.near);
    GOOD(p2p_close(s.far));
    GOOD(p2p_close(s.far));
    EQUAL(p2p_kind(s.far), P2P_E_HANDLE);
    send_text(s.near, "answer");
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    EQUAL(poll(&ready, 1, limit_ms()), 1);
    EQUAL(read(fd, text, sizeof text), 6);
    EQUAL_TEXT(text, "answer");
    GOOD(p2p_stream_close_write(s.near, NULL)); /* that was the second flow */
    expect_end_at(fd);
    EVENTUALLY(streams_of(s.pair.b) == 0);
    close(fd);
    finish(&s);
}

TEST_OVER(stream_fd__closing_it_ends_the_stream_of_a_silent_peer)
{
    for (int half_closed = 0; half_closed < 2; half_closed++) {
        struct ends s = begin(over);
        int fd;
        GOOD(p2p_stream_fd(s.far, &fd));
        EQUAL(write(fd, "last words", 10), 10);
        if (half_closed) {
            shutdown(fd, SHUT_WR);
            expect_text(s.near, "last words");
            expect_end(s.near);
        }
        close(fd);
        if (!half_closed) {
            expect_text(s.near, "last words");
            expect_end(s.near);
        }
        EVENTUALLY(streams_of(s.pair.b) == 0);
        EQUAL(p2p_kind(s.far), P2P_KIND_STREAM); /* until it is closed */
        finish(&s);
    }
}

TEST(stream_fd__ends_with_its_node)
{
    struct ends s = begin(TCP);
    int fd;
    GOOD(p2p_stream_fd(s.far, &fd));
    GOOD(p2p_close(s.far));
    GOOD(p2p_close(s.pair.b));
    expect_end_at(fd);
    EQUAL(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    close(fd);
    finish(&s);
}

TEST(stream_fd__closed_from_all_sides_at_once)
{
    struct pair pair = new_pair(TCP);
    for (int i = 0; i < 40; i++) {
        p2p_handle near, far;
        int fd, other;
        new_stream(&pair, &near, &far);
        GOOD(p2p_stream_fd(far, &fd));
        GOOD(p2p_stream_fd(near, &other));
        EQUAL(write(fd, "x", 1), 1);
        if (i & 1) GOOD(p2p_close(far));
        if (i & 2) GOOD(p2p_stream_reset(near, 3));
        close(i & 4 ? fd : other);
        close(i & 4 ? other : fd);
        GOOD(p2p_close(near));
        GOOD(p2p_close(far));
    }
    EQUAL(p2p_live_handles(P2P_KIND_STREAM), 0);
    EVENTUALLY(streams_of(pair.a) == 0);
    EVENTUALLY(streams_of(pair.b) == 0);
    close_pair(&pair);
}

TEST(queue_close__closes_streams_that_nobody_fetched)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service, stream;
    uint8_t byte;
    GOOD(p2p_stream_serve(pair.b, "/x/1", NULL, queue, 0, &service));
    const int64_t near_alone = p2p_live_handles(P2P_KIND_STREAM) + 1;
    GOOD(p2p_stream_open(pair.a, pair.b_id, "/x/1", NULL, &stream, NULL));
    send_text(stream, "x");
    EVENTUALLY(p2p_live_handles(P2P_KIND_STREAM) == near_alone + 1);
    GOOD(p2p_close(queue));
    EVENTUALLY(p2p_live_handles(P2P_KIND_STREAM) == near_alone);
    CHECK(p2p_stream_read(stream, &byte, 1, NULL) <= 0);
    close_pair(&pair);
}

TEST(stream__thousand_at_a_time)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), service;
    static p2p_handle streams[1000], accepted[1000];
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_stream_serve(pair.b, "/x/1", NULL, queue, 0, &service));
    for (int i = 0; i < 1000; i++) {
        GOOD(p2p_stream_open(pair.a, pair.b_id, "/x/1", NULL, &streams[i], NULL));
        send_text(streams[i], "all");
        wait_event(queue, P2P_EVENT_STREAM, t);
        accepted[i] = t->event.object;
    }
    for (int i = 0; i < 1000; i++) expect_text(accepted[i], "all");
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}
