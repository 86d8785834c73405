/* The queue: polling, the bell, waking, posting, closing. No node is needed. */
#include "support.h"

#include <fcntl.h>
#include <poll.h>

static int readable(int fd, int ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, ms) == 1 && (ready.revents & (POLLIN | POLLHUP));
}

static void post(p2p_handle queue, int64_t value) { GOOD(p2p_queue_post(queue, 1, value, NULL, 0)); }

static int64_t take_value(p2p_handle queue)
{
    p2p_event event;
    uint8_t data[64];
    return GOOD(p2p_queue_poll(queue, &event, 1, data, sizeof data, 0)) == 1 ? event.value : -1;
}

TEST(queue_poll__returns_what_was_posted)
{
    p2p_handle queue = new_queue();
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_queue_post(queue, 0x1fffffffffffffULL, -5, (const uint8_t *)"pay\0load", 8));
    next_event(queue, t);
    EQUAL(t->event.type, P2P_EVENT_POST);
    EQUAL(t->event.status, 0);
    EQUAL(t->event.tag, 0x1fffffffffffffULL);
    EQUAL(t->event.value, -5);
    EQUAL(t->len, 8);
    CHECK(memcmp(t->data, "pay\0load", 8) == 0);
    free(t);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__keeps_the_order)
{
    p2p_handle queue = new_queue();
    for (int i = 0; i < 10000; i++) post(queue, i);
    for (int i = 0; i < 10000; i++) EQUAL(take_value(queue), i);
    EQUAL(take_value(queue), -1);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__returns_0_when_time_is_up)
{
    p2p_handle queue = new_queue();
    p2p_event event;
    uint8_t data[8];
    EQUAL(p2p_queue_poll(queue, &event, 1, data, sizeof data, 0), 0);
    const int64_t start = now_ms();
    EQUAL(p2p_queue_poll(queue, &event, 1, data, sizeof data, 50), 0);
    CHECK(now_ms() - start >= 49);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__moves_as_many_as_fit_into_events)
{
    p2p_handle queue = new_queue();
    p2p_event events[16];
    uint8_t data[64];
    for (int i = 0; i < 20; i++) post(queue, i);
    EQUAL(p2p_queue_poll(queue, events, 16, data, sizeof data, 0), 16);
    EQUAL(events[15].value, 15);
    EQUAL(p2p_queue_poll(queue, events, 16, data, sizeof data, 0), 4);
    EQUAL(events[0].value, 16);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__moves_only_whole_events_into_data)
{
    p2p_handle queue = new_queue();
    p2p_event events[8];
    uint8_t data[250], payload[100];
    memset(payload, 'x', sizeof payload);
    for (int i = 0; i < 5; i++) GOOD(p2p_queue_post(queue, 0, i, payload, sizeof payload));
    int seen = 0, n;
    while ((n = (int)GOOD(p2p_queue_poll(queue, events, 8, data, sizeof data, 0))) > 0)
        for (int i = 0; i < n; i++, seen++) {
            EQUAL(events[i].value, seen);
            EQUAL(events[i].data_length, 100);
            CHECK(events[i].data_offset + 100 <= sizeof data && memcmp(data + events[i].data_offset, payload, 100) == 0);
        }
    EQUAL(seen, 5);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__tells_the_size_an_event_needs_and_keeps_it)
{
    p2p_handle queue = new_queue();
    static uint8_t payload[5000], data[8192];
    p2p_event event;
    GOOD(p2p_queue_post(queue, 0, 1, payload, sizeof payload));
    for (int i = 0; i < 3; i++) ERROR(p2p_queue_poll(queue, &event, 1, data, 100, -1), P2P_E_TOO_BIG);
    const int64_t needed = p2p_last_detail();
    CHECK(needed >= 5000 && needed <= (int64_t)sizeof data);
    EQUAL(p2p_queue_poll(queue, &event, 1, data, (size_t)needed, 0), 1);
    EQUAL(event.data_length, 5000);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__delivers_before_it_says_too_big)
{
    p2p_handle queue = new_queue();
    static uint8_t payload[5000];
    uint8_t data[100];
    p2p_event events[4];
    post(queue, 1);
    GOOD(p2p_queue_post(queue, 0, 2, payload, sizeof payload));
    EQUAL(p2p_queue_poll(queue, events, 4, data, sizeof data, 0), 1);
    ERROR(p2p_queue_poll(queue, events, 4, data, sizeof data, 0), P2P_E_TOO_BIG);
    GOOD(p2p_close(queue));
}

TEST(queue_poll__needs_no_data_block_for_events_without_any)
{
    p2p_handle queue = new_queue();
    p2p_event event;
    post(queue, 3);
    EQUAL(p2p_queue_poll(queue, &event, 1, NULL, 0, 0), 1);
    EQUAL(event.value, 3);
    GOOD(p2p_close(queue));
}

struct poller {
    p2p_handle queue;
    int result;
};

static void *poll_without_end(void *argument)
{
    struct poller *poller = argument;
    p2p_event event;
    uint8_t data[64];
    poller->result = p2p_queue_poll(poller->queue, &event, 1, data, sizeof data, -1);
    return NULL;
}

/* Returns once the thread is seen inside its poll: a second poller is told that it is busy. */
static pthread_t start_poller(struct poller *poller)
{
    pthread_t thread;
    p2p_event event;
    uint8_t data[64];
    CHECK(pthread_create(&thread, NULL, poll_without_end, poller) == 0);
    EVENTUALLY(p2p_queue_poll(poller->queue, &event, 1, data, sizeof data, 0) == P2P_E_BUSY);
    return thread;
}

TEST(queue_poll__second_poller_is_busy)
{
    struct poller poller = {.queue = new_queue()};
    pthread_t thread = start_poller(&poller);
    post(poller.queue, 1);
    pthread_join(thread, NULL);
    EQUAL(poller.result, 1);
    GOOD(p2p_close(poller.queue));
}

TEST(queue_close__wakes_the_poller)
{
    struct poller poller = {.queue = new_queue()};
    pthread_t thread = start_poller(&poller);
    GOOD(p2p_close(poller.queue));
    pthread_join(thread, NULL);
    EQUAL(poller.result, P2P_E_CLOSED);
}

TEST(queue_wake__ends_the_present_poll)
{
    struct poller poller = {.queue = new_queue(), .result = 7};
    pthread_t thread = start_poller(&poller);
    GOOD(p2p_queue_wake(poller.queue));
    pthread_join(thread, NULL);
    EQUAL(poller.result, 0);
    GOOD(p2p_close(poller.queue));
}

TEST(queue_wake__ends_the_next_poll_once)
{
    p2p_handle queue = new_queue();
    p2p_event event;
    uint8_t data[8];
    GOOD(p2p_queue_wake(queue));
    GOOD(p2p_queue_wake(queue));
    EQUAL(p2p_queue_poll(queue, &event, 1, data, sizeof data, -1), 0);
    EQUAL(p2p_queue_poll(queue, &event, 1, data, sizeof data, 20), 0);
    post(queue, 1);
    EQUAL(p2p_queue_poll(queue, &event, 1, data, sizeof data, -1), 1);
    GOOD(p2p_close(queue));
}

TEST(queue_wake__makes_the_fd_readable)
{
    p2p_handle queue = new_queue();
    int fd;
    GOOD(p2p_queue_fd(queue, &fd));
    CHECK(!readable(fd, 0));
    GOOD(p2p_queue_wake(queue));
    CHECK(readable(fd, limit_ms()));
    EQUAL(take_value(queue), -1);
    CHECK(!readable(fd, 0));
    close(fd);
    GOOD(p2p_close(queue));
}

TEST(queue_fd__is_readable_while_events_wait)
{
    p2p_handle queue = new_queue();
    int fd;
    GOOD(p2p_queue_fd(queue, &fd));
    CHECK(!readable(fd, 0));
    post(queue, 1);
    post(queue, 2);
    CHECK(readable(fd, limit_ms()));
    EQUAL(take_value(queue), 1);
    CHECK(readable(fd, 0));
    EQUAL(take_value(queue), 2);
    EQUAL(take_value(queue), -1);
    CHECK(!readable(fd, 0));
    close(fd);
    GOOD(p2p_close(queue));
}

TEST(queue_fd__made_late_is_readable_at_once)
{
    p2p_handle queue = new_queue();
    int fd;
    post(queue, 1);
    GOOD(p2p_queue_fd(queue, &fd));
    CHECK(readable(fd, 0));
    close(fd);
    GOOD(p2p_close(queue));
}

TEST(queue_fd__survives_a_reader_that_eats_the_byte)
{
    p2p_handle queue = new_queue();
    int fd, got = 0;
    char bytes[64];
    GOOD(p2p_queue_fd(queue, &fd));
    for (int i = 0; i < 5000; i++) {
        post(queue, i);
        CHECK(readable(fd, limit_ms()));
        CHECK(read(fd, bytes, sizeof bytes) > 0);
        while (take_value(queue) >= 0) got++;
    }
    EQUAL(got, 5000);
    close(fd);
    GOOD(p2p_close(queue));
}

TEST(queue_fd__is_close_on_exec_and_ones_own)
{
    p2p_handle queue = new_queue();
    int first, second;
    GOOD(p2p_queue_fd(queue, &first));
    GOOD(p2p_queue_fd(queue, &second));
    CHECK(first != second);
    CHECK(fcntl(first, F_GETFD) & FD_CLOEXEC);
    close(first);
    post(queue, 1);
    CHECK(readable(second, limit_ms()));
    close(second);
    GOOD(p2p_close(queue));
}

TEST(queue_close__gives_the_fd_an_end_of_file)
{
    p2p_handle queue = new_queue();
    int fd;
    char byte;
    GOOD(p2p_queue_fd(queue, &fd));
    GOOD(p2p_close(queue));
    CHECK(readable(fd, limit_ms()));
    EQUAL(read(fd, &byte, 1), 0);
    close(fd);
}

TEST(queue_post__is_refused_when_the_queue_is_full_and_taken_again_later)
{
    p2p_handle queue;
    static uint8_t payload[1024], data[1 << 20];
    static p2p_event events[1024];
    int posted = 0, rc, n, got = 0;
    GOOD(p2p_queue_new(64 * 1024, &queue));
    while ((rc = p2p_queue_post(queue, 0, posted, payload, sizeof payload)) >= 0) CHECK(++posted < 1000);
    EQUAL(rc, P2P_E_AGAIN);
    CHECK(posted >= 16);
    while ((n = (int)GOOD(p2p_queue_poll(queue, events, 1024, data, sizeof data, 0))) > 0)
        for (int i = 0; i < n; i++) EQUAL(events[i].value, got++);
    EQUAL(got, posted);
    GOOD(p2p_queue_post(queue, 0, 0, payload, sizeof payload));
    GOOD(p2p_close(queue));
}

static void *post_many(void *argument)
{
    const p2p_handle queue = *(p2p_handle *)argument;
    for (int i = 0; i < 25000; i++)
        while (p2p_queue_post(queue, 0, i, (const uint8_t *)"0123456789", 10) == P2P_E_AGAIN) pause_ms(1);
    return NULL;
}

TEST(queue__loses_no_event_and_no_wakeup_with_four_writers)
{
    p2p_handle queue;
    pthread_t threads[4];
    static p2p_event events[256];
    static uint8_t data[65536];
    int fd, got = 0, n;
    GOOD(p2p_queue_new(1 << 20, &queue));
    GOOD(p2p_queue_fd(queue, &fd));
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, post_many, &queue) == 0);
    while (got < 100000) {
        if (!readable(fd, limit_ms())) FAIL("the bell was lost after %d events", got);
        while ((n = (int)GOOD(p2p_queue_poll(queue, events, 256, data, sizeof data, 0))) > 0) got += n;
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    EQUAL(got, 100000);
    close(fd);
    GOOD(p2p_close(queue));
}

TEST(queue_info__is_json)
{
    p2p_handle queue = new_queue(), parent = 5;
    char *json;
    GOOD(p2p_info(queue, &json));
    CHECK(json[0] == '{');
    p2p_free(json);
    EQUAL(p2p_kind(queue), P2P_KIND_QUEUE);
    GOOD(p2p_parent(queue, &parent));
    EQUAL(parent, 0);
    GOOD(p2p_close(queue));
}
