/* A process ends in every way, at once and with its own exit code, however busy the library is. */
#include "support.h"

static void *wait_for_ever(void *queue)
{
    p2p_event event;
    uint8_t data[4096];
    for (;;) p2p_queue_poll(*(p2p_handle *)queue, &event, 1, data, sizeof data, 1000);
    return NULL;
}

static void *read_for_ever(void *stream)
{
    uint8_t byte;
    const p2p_call for_ever = within(-1);
    p2p_stream_read(*(p2p_handle *)stream, &byte, 1, &for_ever);
    return NULL;
}

static void *write_for_ever(void *stream)
{
    static uint8_t block[65536];
    const p2p_call for_ever = within(-1);
    while (p2p_stream_write(*(p2p_handle *)stream, block, sizeof block, &for_ever) >= 0) {}
    return NULL;
}

/* Two nodes, streams under traffic, a topic under traffic, calls that wait, threads inside the library. */
static void be_busy(void)
{
    static p2p_handle queue, near, far, idle_near, idle_far;
    p2p_handle topic, subscription;
    static struct pair pair;
    pthread_t thread;
    queue = new_queue();
    pair = new_pair(TCP);
    new_stream(&pair, &near, &far);
    new_stream(&pair, &idle_near, &idle_far);
    GOOD(p2p_stream_watch(far, queue, 0, 0, 0));
    GOOD(p2p_topic_join(pair.a, "busy", NULL, queue, 0, &topic));
    GOOD(p2p_topic_subscribe(topic, NULL, queue, 0, &subscription));
    const p2p_call call = on(queue, 1);
    for (int i = 0; i < 100; i++) GOOD(p2p_topic_publish(topic, (const uint8_t *)"x", 1, 0, &call));
    GOOD(p2p_peer_keep(pair.a, NOWHERE));
    CHECK(pthread_create(&thread, NULL, wait_for_ever, &queue) == 0);
    CHECK(pthread_create(&thread, NULL, read_for_ever, &idle_far) == 0);
    CHECK(pthread_create(&thread, NULL, write_for_ever, &near) == 0);
    pause_ms(100);
}

static void *leave_by_exit(void *code)
{
    exit((int)(intptr_t)code);
    return NULL;
}

SCENARIO(returns_from_main) { be_busy(); }

SCENARIO(exits)
{
    be_busy();
    exit(7);
}

SCENARIO(exits_at_once)
{
    be_busy();
    _exit(8);
}

SCENARIO(quick_exits)
{
    be_busy();
    quick_exit(9);
}

SCENARIO(exits_on_another_thread)
{
    pthread_t thread;
    be_busy();
    CHECK(pthread_create(&thread, NULL, leave_by_exit, (void *)(intptr_t)10) == 0);
    for (;;) pause_ms(1000);
}

static p2p_handle late_node;
static void close_node_late(void)
{
    if (p2p_close(late_node) < 0) _exit(98);
}

SCENARIO(closes_its_node_in_atexit)
{
    be_busy();
    late_node = new_node(TCP, NULL);
    atexit(close_node_late);
    exit(11);
}

SCENARIO(aborts)
{
    be_busy();
    abort();
}

SCENARIO(exits_before_any_node)
{
    p2p_abi();
    exit(12);
}

SCENARIO(exits_during_node_new)
{
    p2p_handle queue = new_queue();
    const p2p_call call = on(queue, 1);
    for (int i = 0; i < 5; i++) EQUAL(p2p_node_new(0, queue, 0, NULL, &call), P2P_PENDING);
    exit(13);
}

static void ends_with(const char *scenario, int code)
{
    for (int i = 0; i < 3; i++) {
        const int64_t start = now_ms();
        const int status = run_scenario(scenario);
        if (!WIFEXITED(status)) FAIL("%s: killed by signal %d", scenario, WTERMSIG(status));
        EQUAL(WEXITSTATUS(status), code);
        CHECK(now_ms() - start < limit_ms() / 2);
    }
}

TEST(exit__by_returning_from_main) { ends_with("returns_from_main", 0); }
TEST(exit__by_exit) { ends_with("exits", 7); }
TEST(exit__by__exit) { ends_with("exits_at_once", 8); }
TEST(exit__by_quick_exit) { ends_with("quick_exits", 9); }
TEST(exit__on_another_thread) { ends_with("exits_on_another_thread", 10); }
TEST(exit__with_a_node_closed_in_atexit) { ends_with("closes_its_node_in_atexit", 11); }
TEST(exit__before_any_node) { ends_with("exits_before_any_node", 12); }
TEST(exit__during_node_new) { ends_with("exits_during_node_new", 13); }

TEST(abort__is_a_sigabrt)
{
    const int status = run_scenario("aborts");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

SCENARIO(opens_a_stream_and_stays)
{
    p2p_handle node = new_node(NULL, NULL), stream;
    char *peer;
    GOOD(p2p_peer_connect(node, getenv("ADDRESS"), &peer, NULL));
    GOOD(p2p_stream_open(node, peer, "/killed/1.0.0", NULL, &stream, NULL));
    EQUAL(p2p_stream_write(stream, (const uint8_t *)"x", 1, NULL), 1);
    for (;;) pause_ms(1000);
}

/* The kernel closes a killed process's connections in good order: it must not look as if the peer had ended its stream. */
TEST(sigkill__of_the_peer_is_a_reset_and_no_end_of_file)
{
    p2p_handle queue = new_queue(), node = new_node(TCP, NULL), service;
    struct taken *t = malloc(sizeof *t);
    char address[256];
    uint8_t byte;
    first_address(node, address);
    setenv("ADDRESS", address, 1);
    GOOD(p2p_stream_serve(node, "/killed/1.0.0", NULL, queue, 0, &service));
    const pid_t pid = start_scenario("opens_a_stream_and_stays");
    wait_event(queue, P2P_EVENT_STREAM, t);
    const p2p_handle stream = t->event.object;
    EQUAL(p2p_stream_read(stream, &byte, 1, NULL), 1);
    kill(pid, SIGKILL);
    CHECK(WIFSIGNALED(end_of_scenario(pid)));
    ERROR(p2p_stream_read(stream, &byte, 1, NULL), P2P_E_RESET);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    free(t);
}
