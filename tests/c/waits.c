/* Every call that waits, ended in every way: time is up, cancelled, its handle closed, its node closed, each blocking and on a queue.
 * (Polling a queue is in queue.c.) */
#include "support.h"

#include <stdatomic.h>

/* What a waiting call needs, and what it waits for in vain. */
struct scene {
    struct pair pair;
    p2p_handle queue, owner; /* owner: the call's first argument */
    p2p_handle also[2];      /* further handles, closed at the end */
    int fd;
    char hanging[256];
};

struct wait {
    const char *name;
    void (*set)(struct scene *scene);
    int64_t (*call)(const struct scene *scene, const p2p_call *call);
};

static uint8_t block[1 << 20];

static void on_node_that_hangs(struct scene *s)
{
    s->fd = hanging_listener(s->hanging);
    s->owner = s->pair.a;
}

static void on_node_that_can_be_found(struct scene *s)
{
    on_node_that_hangs(s);
    s->owner = s->pair.b; /* a listens nowhere */
}

static void on_stream(struct scene *s)
{
    new_stream(&s->pair, &s->owner, &s->also[0]);
    s->also[1] = s->owner;
}

/* Writes without waiting until neither the network nor the buffer takes any more. */
static void fill(const struct scene *s, int64_t (*write)(const struct scene *, const p2p_call *))
{
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(s->queue, 1);
    int64_t rc;
    do {
        while ((rc = write(s, &call)) == 0) {}
        EQUAL(rc, P2P_PENDING);
    } while (event_within(s->queue, 200, t));
    free(t);
}

static int64_t write_(const struct scene *s, const p2p_call *c);
static int64_t respond(const struct scene *s, const p2p_call *c);

static void on_full_stream(struct scene *s)
{
    on_stream(s);
    fill(s, write_);
}

static void serve_requests(struct scene *s)
{
    p2p_handle service;
    GOOD(p2p_request_serve(s->pair.b, "/ask/1", NULL, s->queue, 0, &service));
    s->owner = s->pair.a;
}

static void on_exchange(struct scene *s)
{
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(s->queue, 1);
    serve_requests(s);
    EQUAL(p2p_request_open(s->pair.a, s->pair.b_id, "/ask/1", NULL, 0, NULL, NULL, &call), P2P_PENDING);
    wait_event(s->queue, P2P_EVENT_REQUEST, t);
    s->also[0] = t->event.object;
    GOOD(p2p_request_respond(s->also[0], block, 1, 1, NULL));
    DONE_GOOD(s->queue, 1, t);
    s->owner = t->event.object;
    uint8_t *part;
    size_t len;
    EQUAL(GOOD(p2p_request_next(s->owner, &part, &len, NULL)), 1);
    p2p_free(part);
    free(t);
}

static void on_request(struct scene *s)
{
    on_exchange(s);
    const p2p_handle exchange = s->owner;
    s->owner = s->also[0];
    s->also[0] = exchange;
    fill(s, respond);
}

static void on_topic(struct scene *s) { GOOD(p2p_topic_join(s->pair.a, "nobody here", NULL, 0, 0, &s->owner)); }

static void on_node(struct scene *s) { s->owner = s->pair.a; }

static void on_perf(struct scene *s)
{
    on_node(s);
    GOOD(p2p_perf_serve(s->pair.b, NULL, &s->also[0]));
}

static void on_lonely_dht(struct scene *s)
{
    GOOD(p2p_close(s->pair.a));
    s->owner = s->pair.a = new_node(NULL, "\"dht\": {\"mode\": \"client\"}");
}

static int64_t connect_(const struct scene *s, const p2p_call *c) { return p2p_peer_connect(s->owner, s->hanging, NULL, c); }
static int64_t read_(const struct scene *s, const p2p_call *c) { uint8_t byte; return p2p_stream_read(s->owner, c && c->queue ? NULL : &byte, 1, c); }
static int64_t write_(const struct scene *s, const p2p_call *c) { return p2p_stream_write(s->owner, block, sizeof block, c); }
static int64_t read_message(const struct scene *s, const p2p_call *c) { uint8_t *data; size_t len; return p2p_stream_read_message(s->owner, 100, &data, &len, c); }
static int64_t write_message(const struct scene *s, const p2p_call *c) { return p2p_stream_write_message(s->owner, block, sizeof block, c); }
static int64_t send_(const struct scene *s, const p2p_call *c)
{
    uint8_t *answer;
    size_t len;
    return p2p_request_send(s->owner, s->pair.b_id, "/ask/1", block, 1, NULL, &answer, &len, c);
}
static int64_t next(const struct scene *s, const p2p_call *c) { uint8_t *part; size_t len; return p2p_request_next(s->owner, &part, &len, c); }
static int64_t respond(const struct scene *s, const p2p_call *c) { return p2p_request_respond(s->owner, block, sizeof block, 1, c); }
static int64_t publish(const struct scene *s, const p2p_call *c) { return p2p_topic_publish(s->owner, block, 1, 1, c); }
static int64_t bootstrap(const struct scene *s, const p2p_call *c) { return p2p_dht_bootstrap(s->owner, 1, c); }
static int64_t reach(const struct scene *s, const p2p_call *c) { return p2p_nat_wait(s->owner, "public", NULL, c); }
static int64_t reserve(const struct scene *s, const p2p_call *c) { p2p_handle place; return p2p_relay_reserve(s->owner, s->hanging, 0, 0, &place, NULL, c); }
static int64_t discover(const struct scene *s, const p2p_call *c) { char *json; return p2p_rendezvous_discover(s->owner, s->hanging, "x", NULL, &json, c); }
static int64_t perf(const struct scene *s, const p2p_call *c) { char *json; return p2p_perf_run(s->owner, s->pair.b_id, 0, (int64_t)8 << 30, NULL, &json, c); }
static int64_t register_(const struct scene *s, const p2p_call *c)
{
    p2p_handle registration;
    return p2p_rendezvous_register(s->owner, s->hanging, "x", NULL, 0, 0, &registration, c);
}
static int64_t unregister(const struct scene *s, const p2p_call *c) { return p2p_rendezvous_unregister(s->owner, s->hanging, "x", c); }
static int64_t explain(const struct scene *s, const p2p_call *c)
{
    char *json;
    return p2p_peer_explain(s->owner, s->hanging, "{\"attempt_ms\": 60000}", &json, c);
}

static const struct wait waits[] = {
    {"peer_connect", on_node_that_hangs, connect_},
    {"stream_read", on_stream, read_},
    {"stream_read_message", on_stream, read_message},
    {"stream_write", on_full_stream, write_},
    {"stream_write_message", on_full_stream, write_message},
    {"request_send", serve_requests, send_},
    {"request_next", on_exchange, next},
    {"request_respond", on_request, respond},
    {"topic_publish", on_topic, publish},
    {"dht_bootstrap", on_lonely_dht, bootstrap},
    {"nat_wait", on_node, reach},
    {"relay_reserve", on_node_that_hangs, reserve},
    {"rendezvous_register", on_node_that_can_be_found, register_},
    {"rendezvous_unregister", on_node_that_hangs, unregister},
    {"rendezvous_discover", on_node_that_hangs, discover},
    {"perf_run", on_perf, perf},
    {"peer_explain", on_node_that_hangs, explain},
};

static struct scene begin(const struct wait *wait)
{
    struct scene scene = {.pair = new_pair(TCP), .queue = new_queue(), .fd = -1};
    wait->set(&scene);
    return scene;
}

static void finish(struct scene *s)
{
    if (s->fd >= 0) close(s->fd);
    close_pair(&s->pair);
    GOOD(p2p_close(s->queue));
}

static void expect(const struct wait *wait, const char *how, int64_t result, int code)
{
    if (result != code)
        FAIL("%s, %s: %lld (%s), not %s: %s", wait->name, how, (long long)result, p2p_error_name((int)result), p2p_error_name(code), p2p_last_error());
}

/* A call that waits in a thread of its own. */
struct waiter {
    const struct wait *wait;
    const struct scene *scene;
    pthread_t thread;
    atomic_int begun, ended;
    int64_t result;
    char words[256];
};

static void *wait_without_end(void *argument)
{
    struct waiter *w = argument;
    const p2p_call call = {.size = sizeof call, .timeout_ms = -1, .tag = 31};
    w->begun = 1;
    w->result = w->wait->call(w->scene, &call);
    snprintf(w->words, sizeof w->words, "%s", p2p_last_error());
    w->ended = 1;
    return NULL;
}

static void start_waiter(struct waiter *w, const struct wait *wait, const struct scene *scene)
{
    *w = (struct waiter){.wait = wait, .scene = scene};
    CHECK(pthread_create(&w->thread, NULL, wait_without_end, w) == 0);
    EVENTUALLY(w->begun);
}

static void join_waiter(struct waiter *w, const char *how, int code)
{
    const int64_t until = now_ms() + limit_ms();
    while (!w->ended) {
        if (now_ms() > until) FAIL("%s, %s: still waiting", w->wait->name, how);
        pause_ms(1);
    }
    pthread_join(w->thread, NULL);
    expect(w->wait, how, w->result, code);
    if (!*w->words) FAIL("%s, %s: no words", w->wait->name, how);
}

#define EACH_WAIT(wait) for (const struct wait *wait = waits; wait < waits + sizeof waits / sizeof *waits; wait++)

static int code_of_timeout(const struct wait *wait) { return wait->call == publish || wait->call == bootstrap ? P2P_E_PEERS : P2P_E_TIMEOUT; }

TEST(wait__ends_when_time_is_up)
{
    EACH_WAIT(wait)
    {
        struct scene scene = begin(wait);
        const p2p_call call = within(80);
        const int64_t start = now_ms();
        expect(wait, "time up", wait->call(&scene, &call), code_of_timeout(wait));
        if (now_ms() - start < 75) FAIL("%s: ended too early", wait->name);
        finish(&scene);
    }
}

TEST(wait__ends_when_cancelled_by_its_tag)
{
    EACH_WAIT(wait)
    {
        struct scene scene = begin(wait);
        struct waiter waiter;
        start_waiter(&waiter, wait, &scene);
        for (const int64_t until = now_ms() + limit_ms(); p2p_cancel(scene.owner, 31) != 1; pause_ms(1))
            if (now_ms() > until) FAIL("%s: nothing to cancel", wait->name);
        join_waiter(&waiter, "cancelled", P2P_E_CANCELLED);
        EQUAL(p2p_cancel(scene.owner, 31), 0);
        finish(&scene);
    }
}

static p2p_handle node_of(const struct wait *wait, const struct scene *s) { return wait->call == respond || wait->call == register_ ? s->pair.b : s->pair.a; }

/* Whether the call was inside its wait when its handle went; else it was told that there is no such handle. */
static void close_under(const struct wait *wait, int node)
{
    struct scene scene = begin(wait);
    struct waiter waiter;
    start_waiter(&waiter, wait, &scene);
    pause_ms(30); /* not needed for the result, but most of the time the call then waits already */
    GOOD(p2p_close(node ? node_of(wait, &scene) : scene.owner));
    const int64_t until = now_ms() + limit_ms();
    while (!waiter.ended) {
        if (now_ms() > until) FAIL("%s: still waiting after its %s was closed", wait->name, node ? "node" : "handle");
        pause_ms(1);
    }
    pthread_join(waiter.thread, NULL);
    if (waiter.result != P2P_E_HANDLE) expect(wait, node ? "node closed" : "closed", waiter.result, P2P_E_CLOSED);
    finish(&scene);
}

TEST(wait__ends_when_its_handle_is_closed)
{
    EACH_WAIT(wait) close_under(wait, 0);
}

TEST(wait__ends_when_its_node_is_closed)
{
    EACH_WAIT(wait) close_under(wait, 1);
}

/* The write and respond of queue mode are accepted first, so what ends is the wait for room. */
static p2p_call begin_on_queue(const struct wait *wait, const struct scene *scene, int timeout_ms)
{
    p2p_call call = on(scene->queue, 32);
    call.timeout_ms = timeout_ms;
    int64_t rc;
    int calls = 0;
    while ((rc = wait->call(scene, &call)) == 0) CHECK(++calls < 1000);
    expect(wait, "on a queue", rc, P2P_PENDING);
    return call;
}

TEST(queued_wait__ends_when_time_is_up)
{
    EACH_WAIT(wait)
    {
        struct scene scene = begin(wait);
        struct taken *t = malloc(sizeof *t);
        begin_on_queue(wait, &scene, 80);
        expect(wait, "time up on a queue", wait_done(scene.queue, 32, t), code_of_timeout(wait));
        if (!*t->text) FAIL("%s: no words", wait->name);
        finish(&scene);
        free(t);
    }
}

TEST(queued_wait__ends_when_cancelled)
{
    EACH_WAIT(wait)
    {
        struct scene scene = begin(wait);
        struct taken *t = malloc(sizeof *t);
        begin_on_queue(wait, &scene, -1);
        if (p2p_cancel(scene.owner, 32) != 1) FAIL("%s: nothing to cancel", wait->name);
        expect(wait, "cancelled on a queue", wait_done(scene.queue, 32, t), P2P_E_CANCELLED);
        if (p2p_cancel(scene.owner, 32) != 0) FAIL("%s: can be cancelled after its completion", wait->name);
        finish(&scene);
        free(t);
    }
}

static void close_under_queued(const struct wait *wait, int node)
{
    struct scene scene = begin(wait);
    struct taken *t = malloc(sizeof *t);
    begin_on_queue(wait, &scene, -1);
    GOOD(p2p_close(node ? node_of(wait, &scene) : scene.owner));
    expect(wait, node ? "node closed, on a queue" : "closed, on a queue", wait_done(scene.queue, 32, t), P2P_E_CLOSED);
    finish(&scene);
    free(t);
}

TEST(queued_wait__ends_when_its_handle_is_closed)
{
    EACH_WAIT(wait) close_under_queued(wait, 0);
}

TEST(queued_wait__ends_when_its_node_is_closed)
{
    EACH_WAIT(wait) close_under_queued(wait, 1);
}

TEST(queued_wait__leaves_nothing_when_its_queue_is_closed_first)
{
    EACH_WAIT(wait)
    {
        struct scene scene = begin(wait);
        begin_on_queue(wait, &scene, -1);
        GOOD(p2p_close(scene.queue));
        scene.queue = new_queue();
        finish(&scene);
    }
}

/* --- Races: handles closed while other threads use them. What counts is that every call returns a code. */

struct race {
    p2p_handle node, queue, stream;
    char peer[128], address[256];
    atomic_int stop;
};

static void is_a_code(int64_t result)
{
    if (result < P2P_E_LIMITED) FAIL("%lld is no code", (long long)result);
    if (result == P2P_E_INTERNAL) FAIL("internal error: %s", p2p_last_error());
}

static void *use_everything(void *argument)
{
    struct race *r = argument;
    const p2p_call brief = within(50);
    p2p_handle handle;
    p2p_event event;
    uint8_t data[256], *owned;
    size_t len;
    char *words;
    int64_t rtt;
    while (!r->stop) {
        is_a_code(p2p_stream_write(r->stream, data, sizeof data, &brief));
        is_a_code(p2p_stream_read(r->stream, data, sizeof data, &brief));
        is_a_code(p2p_peer_ping(r->node, r->peer, &rtt, &brief));
        is_a_code(p2p_stream_open(r->node, r->peer, "/x/1", NULL, &handle, &brief));
        if (handle) is_a_code(p2p_close(handle));
        is_a_code(p2p_request_send(r->node, r->peer, "/y/1", data, 1, NULL, &owned, &len, &brief));
        is_a_code(p2p_topic_join(r->node, "race", NULL, r->queue, 0, &handle));
        is_a_code(p2p_topic_publish(handle, data, 1, 0, &brief));
        is_a_code(p2p_queue_poll(r->queue, &event, 1, data, sizeof data, 1));
        if (p2p_info(r->node, &words) >= 0) p2p_free(words);
        is_a_code(p2p_peer_connect(r->node, r->address, NULL, &brief));
    }
    return NULL;
}

TEST(race__everything_is_closed_under_four_threads)
{
    const int rounds = (int)number_from_environment("RACE_ROUNDS", 10);
    for (int i = 0; i < rounds; i++) {
        struct pair pair = new_pair(i % 2 ? QUIC : TCP);
        p2p_handle far;
        struct race race = {.node = pair.a, .queue = new_queue()};
        pthread_t threads[4];
        new_stream(&pair, &race.stream, &far);
        snprintf(race.peer, sizeof race.peer, "%s", pair.b_id);
        snprintf(race.address, sizeof race.address, "%s", pair.b_address);
        for (int k = 0; k < 4; k++) CHECK(pthread_create(&threads[k], NULL, use_everything, &race) == 0);
        pause_ms(20 + 5 * i);
        const p2p_handle victims[] = {race.stream, race.queue, pair.a, pair.b, far};
        for (int k = 0; k < 5; k++) GOOD(p2p_close(victims[(k + i) % 5]));
        race.stop = 1;
        for (int k = 0; k < 4; k++) pthread_join(threads[k], NULL);
        CHECK(!test_failed);
    }
    EVENTUALLY(p2p_live_handles(0) == handles_before);
    EQUAL(runtime_number("panics"), 0);
}

static void *close_it(void *handle)
{
    is_a_code(p2p_close(*(p2p_handle *)handle));
    return NULL;
}

TEST(race__two_threads_close_the_same_node)
{
    for (int i = 0; i < 10; i++) {
        p2p_handle node = new_node(TCP, NULL);
        pthread_t threads[4];
        for (int k = 0; k < 4; k++) CHECK(pthread_create(&threads[k], NULL, close_it, &node) == 0);
        for (int k = 0; k < 4; k++) pthread_join(threads[k], NULL);
        ERROR(p2p_kind(node), P2P_E_HANDLE);
    }
}
