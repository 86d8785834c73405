/* Requests: one answer or a stream of them, errors, deadlines, cancellation, limits. */
#include "support.h"

#define ECHO "/test/echo/1.0.0"

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

struct asking {
    struct pair pair;
    p2p_handle answers, queue, service; /* of a, which asks; of b, which serves */
    struct taken *t;
};

static struct asking begin_with(const char *over, const char *options)
{
    struct asking s = {.pair = new_pair(over), .answers = new_queue(), .queue = new_queue(), .t = malloc(sizeof(struct taken))};
    GOOD(p2p_request_serve(s.pair.b, ECHO, options, s.queue, 21, &s.service));
    return s;
}

static struct asking begin(const char *over) { return begin_with(over, NULL); }

static void finish(struct asking *s)
{
    close_pair(&s->pair);
    GOOD(p2p_close(s->queue));
    GOOD(p2p_close(s->answers));
    free(s->t);
}

/* Asks without waiting, so that one thread plays both sides. */
static void ask(struct asking *s, uint64_t tag, const char *text)
{
    const p2p_call call = on(s->answers, tag);
    EQUAL(p2p_request_send(s->pair.a, s->pair.b_id, ECHO, bytes(text), strlen(text), NULL, NULL, NULL, &call), P2P_PENDING);
}

static p2p_handle take_request(struct asking *s)
{
    wait_event(s->queue, P2P_EVENT_REQUEST, s->t);
    return s->t->event.object;
}

static void expect_data(const struct taken *t, const char *text) { CHECK(t->len == strlen(text) && memcmp(t->data, text, t->len) == 0); }

TEST_OVER(request__is_answered)
{
    struct asking s = begin(over);
    ask(&s, 1, "question");
    const p2p_handle request = take_request(&s);
    EQUAL(s.t->event.tag, 21);
    EQUAL(s.t->event.subject, s.service);
    EQUAL(p2p_kind(request), P2P_KIND_REQUEST);
    EQUAL_TEXT(line_of(s.t, 0), s.pair.a_id);
    EQUAL_TEXT(line_of(s.t, 1), ECHO);
    expect_data(s.t, "question");
    CHECK(s.t->event.value > 0 && s.t->event.value <= limit_ms());
    GOOD(p2p_request_respond(request, bytes("answer"), 6, 0, NULL));
    DONE_GOOD(s.answers, 1, s.t);
    EQUAL(s.t->event.subject, s.pair.a);
    expect_data(s.t, "answer");
    ERROR(p2p_kind(request), P2P_E_HANDLE); /* the last answer closed it */
    finish(&s);
}

TEST(request__of_nothing_may_be_answered_with_nothing)
{
    struct asking s = begin(TCP);
    const p2p_call call = on(s.answers, 1);
    EQUAL(p2p_request_send(s.pair.a, s.pair.b_id, ECHO, NULL, 0, NULL, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    EQUAL(s.t->len, 0);
    GOOD(p2p_request_respond(request, NULL, 0, 0, NULL));
    DONE_GOOD(s.answers, 1, s.t);
    EQUAL(s.t->len, 0);
    finish(&s);
}

TEST_OVER(request__many_are_answered_in_any_order)
{
    struct asking s = begin(over);
    p2p_handle requests[50];
    char text[50][8], seen[50] = "";
    for (int i = 0; i < 50; i++) {
        snprintf(text[i], sizeof text[i], "%d", i);
        ask(&s, 100 + (uint64_t)i, text[i]);
    }
    for (int i = 0; i < 50; i++) {
        const p2p_handle request = take_request(&s);
        CHECK(s.t->len < 3);
        s.t->data[s.t->len] = '\0';
        requests[atoi((char *)s.t->data)] = request;
    }
    for (int i = 49; i >= 0; i--) GOOD(p2p_request_respond(requests[i], bytes(text[i]), strlen(text[i]), 0, NULL));
    for (int i = 0; i < 50; i++) {
        wait_event(s.answers, P2P_EVENT_DONE, s.t);
        const int which = (int)s.t->event.tag - 100;
        CHECK(which >= 0 && which < 50 && !seen[which]);
        EQUAL(s.t->event.status >= 0, 1);
        expect_data(s.t, text[which]);
        seen[which] = 1;
    }
    finish(&s);
}

TEST_OVER(request_fail__reaches_the_asker_with_code_and_words)
{
    struct asking s = begin(over);
    ask(&s, 1, "q");
    GOOD(p2p_request_fail(take_request(&s), 418, "I'm a teapot"));
    DONE_ERROR(s.answers, 1, s.t, P2P_E_REMOTE);
    EQUAL(s.t->event.value, 418);
    CONTAINS(s.t->text, "I'm a teapot");
    finish(&s);
}

TEST(request_close__without_an_answer_is_an_error_to_the_asker)
{
    struct asking s = begin(TCP);
    ask(&s, 1, "q");
    GOOD(p2p_close(take_request(&s)));
    DONE_ERROR(s.answers, 1, s.t, P2P_E_REMOTE);
    finish(&s);
}

TEST(request__nobody_serves_it)
{
    struct asking s = begin(TCP);
    uint8_t *answer = (uint8_t *)1;
    size_t len = 1;
    ERROR(p2p_request_send(s.pair.a, s.pair.b_id, "/nobody/1", NULL, 0, NULL, &answer, &len, NULL), P2P_E_PROTOCOL);
    CHECK(answer == NULL);
    CONTAINS(p2p_last_error(), "/nobody/1");
    finish(&s);
}

TEST_OVER(request__timeout_reaches_the_handler)
{
    struct asking s = begin(over);
    const p2p_call call = {.size = sizeof call, .timeout_ms = 300, .queue = s.answers, .tag = 1};
    EQUAL(p2p_request_send(s.pair.a, s.pair.b_id, ECHO, bytes("q"), 1, NULL, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    CHECK(s.t->event.value > 0 && s.t->event.value <= 300);
    DONE_ERROR(s.answers, 1, s.t, P2P_E_TIMEOUT);
    wait_event(s.queue, P2P_EVENT_REQUEST_CANCELLED, s.t);
    EQUAL(s.t->event.subject, request);
    const int64_t late = p2p_request_respond(request, bytes("a"), 1, 0, NULL);
    CHECK(late == P2P_E_TIMEOUT || late == P2P_E_CANCELLED);
    GOOD(p2p_close(request));
    finish(&s);
}

TEST_OVER(request__cancel_reaches_the_handler)
{
    struct asking s = begin(over);
    ask(&s, 17, "q");
    const p2p_handle request = take_request(&s);
    EQUAL(p2p_cancel(s.pair.a, 17), 1);
    DONE_ERROR(s.answers, 17, s.t, P2P_E_CANCELLED);
    wait_event(s.queue, P2P_EVENT_REQUEST_CANCELLED, s.t);
    EQUAL(s.t->event.subject, request);
    ERROR(p2p_request_respond(request, bytes("a"), 1, 0, NULL), P2P_E_CANCELLED);
    GOOD(p2p_close(request));
    EQUAL(p2p_cancel(s.pair.a, 17), 0);
    finish(&s);
}

TEST(request__cancel_reaches_the_handler_of_a_closed_service)
{
    struct asking s = begin(TCP);
    ask(&s, 17, "q");
    const p2p_handle request = take_request(&s);
    GOOD(p2p_close(s.service));
    wait_event(s.queue, P2P_EVENT_CLOSED, s.t);
    EQUAL(p2p_cancel(s.pair.a, 17), 1);
    wait_event(s.queue, P2P_EVENT_REQUEST_CANCELLED, s.t);
    EQUAL(s.t->event.subject, request);
    GOOD(p2p_close(request));
    finish(&s);
}

/* A stream that is a request whose last byte is missing. */
TEST(request__that_is_whole_only_after_its_service_was_closed_has_no_event)
{
    struct asking s = begin(TCP);
    p2p_handle half;
    uint8_t *answer;
    size_t len;
    ask(&s, 17, "q"); /* has its own reason to outlive the service */
    const p2p_handle request = take_request(&s);
    GOOD(p2p_stream_open(s.pair.a, s.pair.b_id, ECHO, NULL, &half, NULL));
    EQUAL(GOOD(p2p_stream_write(half, (const uint8_t[]){3, 0x12, 1}, 3, NULL)), 3);
    EVENTUALLY(info_number(s.service, "accepted") == 2);
    GOOD(p2p_close(s.service));
    wait_event(s.queue, P2P_EVENT_CLOSED, s.t);
    EQUAL(GOOD(p2p_stream_write(half, bytes("x"), 1, NULL)), 1);
    EQUAL(GOOD(p2p_stream_read_message(half, 1024, &answer, &len, NULL)), 1);
    CHECK(len > 0 && memmem(answer, len, "no answer", 9));
    p2p_free(answer);
    EQUAL(info_number(s.queue, "events"), 0);
    EQUAL(p2p_live_handles(P2P_KIND_REQUEST), 1);
    GOOD(p2p_request_respond(request, bytes("a"), 1, 0, NULL));
    DONE_GOOD(s.answers, 17, s.t);
    GOOD(p2p_close(half));
    finish(&s);
}

/* More than may wait to be sent, so that the answer completes only later. */
TEST(request_respond__closes_the_request_when_a_large_answer_completes)
{
    static const uint8_t large[3 << 20];
    struct asking s = begin(TCP);
    const p2p_call opening = on(s.answers, 1), answering = on(s.queue, 5);
    uint8_t *part;
    size_t len;
    EQUAL(p2p_request_open(s.pair.a, s.pair.b_id, ECHO, NULL, 0, NULL, NULL, &opening), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    DONE_GOOD(s.answers, 1, s.t);
    const p2p_handle exchange = s.t->event.object;
    EQUAL(p2p_request_respond(request, large, sizeof large, 0, &answering), P2P_PENDING);
    EQUAL(GOOD(p2p_request_next(exchange, &part, &len, NULL)), 1);
    EQUAL(len, sizeof large);
    p2p_free(part);
    DONE_GOOD(s.queue, 5, s.t);
    EVENTUALLY(p2p_live_handles(P2P_KIND_REQUEST) == 0);
    GOOD(p2p_close(exchange));
    finish(&s);
}

TEST_OVER(request_stream__brings_every_part_in_order)
{
    struct asking s = begin(over);
    p2p_handle exchange;
    uint8_t *part;
    size_t len;
    char text[16];
    const p2p_call call = on(s.answers, 3);
    EQUAL(p2p_request_open(s.pair.a, s.pair.b_id, ECHO, bytes("q"), 1, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    for (int i = 0; i < 100; i++) GOOD(p2p_request_respond(request, bytes(text), (size_t)snprintf(text, sizeof text, "%d", i), i < 99, NULL));
    DONE_GOOD(s.answers, 3, s.t);
    exchange = s.t->event.object;
    EQUAL(p2p_kind(exchange), P2P_KIND_EXCHANGE);
    for (int i = 0; i < 100; i++) {
        EQUAL(GOOD(p2p_request_next(exchange, &part, &len, NULL)), 1);
        snprintf(text, sizeof text, "%d", i);
        CHECK(len == strlen(text) && memcmp(part, text, len) == 0);
        p2p_free(part);
    }
    EQUAL(p2p_request_next(exchange, &part, &len, NULL), 0);
    CHECK(part == NULL);
    EQUAL(p2p_request_next(exchange, &part, &len, NULL), 0);
    GOOD(p2p_close(exchange));
    finish(&s);
}

TEST(request_stream__parts_complete_on_a_queue)
{
    struct asking s = begin(TCP);
    p2p_call call = on(s.answers, 3);
    EQUAL(p2p_request_open(s.pair.a, s.pair.b_id, ECHO, NULL, 0, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    GOOD(p2p_request_respond(request, bytes("part"), 4, 1, NULL));
    DONE_GOOD(s.answers, 3, s.t);
    const p2p_handle exchange = s.t->event.object;
    call.tag = 4;
    EQUAL(p2p_request_next(exchange, NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(s.answers, 4, s.t);
    EQUAL(s.t->event.value, 1);
    expect_data(s.t, "part");
    GOOD(p2p_request_respond(request, bytes("end"), 3, 0, NULL));
    EQUAL(p2p_request_next(exchange, NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(s.answers, 4, s.t);
    expect_data(s.t, "end");
    EQUAL(p2p_request_next(exchange, NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(s.answers, 4, s.t);
    EQUAL(s.t->event.value, 0);
    EQUAL(s.t->len, 0);
    GOOD(p2p_close(exchange));
    finish(&s);
}

TEST(request_stream__error_after_parts)
{
    struct asking s = begin(TCP);
    uint8_t *part;
    size_t len;
    const p2p_call call = on(s.answers, 3);
    EQUAL(p2p_request_open(s.pair.a, s.pair.b_id, ECHO, NULL, 0, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    GOOD(p2p_request_respond(request, bytes("part"), 4, 1, NULL));
    GOOD(p2p_request_fail(request, 7, "no more"));
    DONE_GOOD(s.answers, 3, s.t);
    const p2p_handle exchange = s.t->event.object;
    EQUAL(GOOD(p2p_request_next(exchange, &part, &len, NULL)), 1);
    p2p_free(part);
    ERROR(p2p_request_next(exchange, &part, &len, NULL), P2P_E_REMOTE);
    EQUAL(p2p_last_detail(), 7);
    CONTAINS(p2p_last_error(), "no more");
    GOOD(p2p_close(exchange));
    finish(&s);
}

TEST_OVER(request_stream__closing_early_cancels_the_handler)
{
    struct asking s = begin(over);
    const p2p_call call = on(s.answers, 3);
    EQUAL(p2p_request_open(s.pair.a, s.pair.b_id, ECHO, NULL, 0, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    GOOD(p2p_request_respond(request, bytes("part"), 4, 1, NULL));
    DONE_GOOD(s.answers, 3, s.t);
    GOOD(p2p_close(s.t->event.object));
    wait_event(s.queue, P2P_EVENT_REQUEST_CANCELLED, s.t);
    EQUAL(s.t->event.subject, request);
    GOOD(p2p_close(request));
    finish(&s);
}

TEST(request_stream__asker_that_does_not_fetch_holds_the_handler_back)
{
    struct asking s = begin(TCP);
    static uint8_t block[256 * 1024];
    const p2p_call call = on(s.answers, 3), patience = within(300);
    EQUAL(p2p_request_open(s.pair.a, s.pair.b_id, ECHO, NULL, 0, NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    int64_t rc;
    int parts = 0;
    while ((rc = p2p_request_respond(request, block, sizeof block, 1, &patience)) >= 0) CHECK(++parts < 512);
    EQUAL(rc, P2P_E_TIMEOUT);
    DONE_GOOD(s.answers, 3, s.t);
    GOOD(p2p_close(s.t->event.object));
    GOOD(p2p_close(request));
    finish(&s);
}

TEST(request__larger_than_the_service_takes)
{
    struct asking s = begin_with(TCP, "{\"max_request\": 100}");
    static uint8_t block[101];
    uint8_t *answer;
    size_t len;
    int64_t rtt;
    ERROR(p2p_request_send(s.pair.a, s.pair.b_id, ECHO, block, sizeof block, NULL, &answer, &len, NULL), P2P_E_TOO_BIG);
    GOOD(p2p_peer_ping(s.pair.a, s.pair.b_id, &rtt, NULL));
    finish(&s);
}

TEST(request__answer_larger_than_allowed)
{
    struct asking s = begin(TCP);
    static uint8_t block[101];
    int64_t rtt;
    const p2p_call call = on(s.answers, 1);
    EQUAL(p2p_request_send(s.pair.a, s.pair.b_id, ECHO, NULL, 0, "{\"max_response\": 100}", NULL, NULL, &call), P2P_PENDING);
    const p2p_handle request = take_request(&s);
    p2p_request_respond(request, block, sizeof block, 0, NULL);
    DONE_ERROR(s.answers, 1, s.t, P2P_E_TOO_BIG);
    GOOD(p2p_peer_ping(s.pair.a, s.pair.b_id, &rtt, NULL));
    finish(&s);
}

TEST(request_serve__beyond_max_concurrent_is_busy)
{
    struct asking s = begin_with(TCP, "{\"max_concurrent\": 2}");
    ask(&s, 1, "a");
    const p2p_handle first = take_request(&s);
    ask(&s, 2, "b");
    const p2p_handle second = take_request(&s);
    ask(&s, 3, "c");
    DONE_ERROR(s.answers, 3, s.t, P2P_E_BUSY);
    GOOD(p2p_request_respond(first, NULL, 0, 0, NULL));
    DONE_GOOD(s.answers, 1, s.t);
    ask(&s, 4, "d");
    const p2p_handle fourth = take_request(&s);
    GOOD(p2p_request_respond(second, NULL, 0, 0, NULL));
    GOOD(p2p_request_respond(fourth, NULL, 0, 0, NULL));
    DONE_GOOD(s.answers, 4, s.t);
    finish(&s);
}

TEST(request_serve__timeout_of_the_service_counts_too)
{
    struct asking s = begin_with(TCP, "{\"timeout_ms\": 150}");
    ask(&s, 1, "q");
    const int64_t start = now_ms();
    const p2p_handle request = take_request(&s);
    CHECK(s.t->event.value <= 150);
    CHECK(wait_done(s.answers, 1, s.t) < 0); /* nobody answers, nobody closes */
    CHECK(now_ms() - start < limit_ms() / 2);
    GOOD(p2p_close(request));
    finish(&s);
}

TEST(request_serve__same_name_twice)
{
    struct asking s = begin(TCP);
    p2p_handle again;
    ERROR(p2p_request_serve(s.pair.b, ECHO, NULL, s.queue, 0, &again), P2P_E_EXISTS);
    CONTAINS(p2p_last_error(), ECHO);
    GOOD(p2p_close(s.service));
    GOOD(p2p_request_serve(s.pair.b, ECHO, NULL, s.queue, 0, &again));
    finish(&s);
}

TEST(request__peer_that_goes_away)
{
    struct asking s = begin(TCP);
    ask(&s, 1, "q");
    take_request(&s);
    GOOD(p2p_close(s.pair.b));
    const int status = wait_done(s.answers, 1, s.t);
    CHECK(status < 0 && status != P2P_E_TIMEOUT);
    finish(&s);
}
