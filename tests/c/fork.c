/* fork without exec: the child gets P2P_E_FORKED from every call at once, the parent goes on as before. Start of programs is not touched. */
#include "support.h"

#include <fcntl.h>
#include <stdatomic.h>

/* Runs body in a forked child; the child's exit code is body's result. */
#define IN_CHILD(body)                                                                      \
    do {                                                                                    \
        int end_;                                                                           \
        fflush(stdout);                                                                     \
        const pid_t pid_ = fork();                                                          \
        if (pid_ == 0) {                                                                    \
            alarm((unsigned)(20 * slow()));                                                 \
            _exit(body);                                                                    \
        }                                                                                   \
        CHECK(pid_ > 0 && waitpid(pid_, &end_, 0) == pid_);                                 \
        ENDS_WELL(end_);                                                                    \
    } while (0)

static p2p_handle node, queue, config, stream, topic;

/* Returns the number (from 1) of the first call that did not say P2P_E_FORKED, else 0. */
static int every_call_says_forked(void)
{
    char *text;
    uint8_t *block, byte;
    size_t len;
    int number;
    int64_t wide;
    p2p_handle out;
    p2p_event event;
    const int64_t results[] = {
        p2p_build_info(&text), p2p_log_level("*", "off"), p2p_log_queue(queue, 0), p2p_crash_file(NULL), p2p_runtime_tune(0, 0), p2p_runtime_info(&text),
        p2p_live_handles(0), p2p_close(node), p2p_kind(node), p2p_parent(node, &out), p2p_info(node, &text), p2p_cancel(node, 1), p2p_answer(1, 0),
        p2p_queue_new(0, &out), p2p_queue_poll(queue, &event, 1, &byte, 1, 0), p2p_queue_fd(queue, &number), p2p_queue_wake(queue),
        p2p_queue_post(queue, 0, 0, NULL, 0), p2p_config_new(NULL, &out), p2p_config_set(config, "pubsub.d", "8"),
        p2p_config_set_secret(config, "identity.key", &byte, 1), p2p_config_get(config, "", &text), p2p_config_schema(&text),
        p2p_key_new("ed25519", &block, &len), p2p_key_peer_id(&byte, 1, &text), p2p_node_new(0, 0, 0, &out, NULL), p2p_node_close(node, NULL),
        p2p_node_id(node, &text), p2p_node_addresses(node, &text), p2p_peer_connect(node, NOWHERE, &text, NULL), p2p_peer_disconnect(node, NOBODY),
        p2p_peer_list(node, &text), p2p_peer_info(node, NULL, &text), p2p_peer_ping(node, NOBODY, &wide, NULL), p2p_peer_keep(node, NOWHERE),
        p2p_peer_release(node, NOBODY), p2p_stream_serve(node, "/x/1", NULL, queue, 0, &out), p2p_stream_open(node, NOBODY, "/x/1", NULL, &out, NULL),
        p2p_stream_read(stream, &byte, 1, NULL), p2p_stream_write(stream, &byte, 1, NULL), p2p_stream_read_message(stream, 1, &block, &len, NULL),
        p2p_stream_write_message(stream, &byte, 1, NULL), p2p_stream_close_write(stream, NULL), p2p_stream_close_read(stream),
        p2p_stream_reset(stream, 0), p2p_stream_deadline(stream, 0, 0), p2p_stream_watch(stream, queue, 0, 0, 0), p2p_stream_credit(stream, 1),
        p2p_stream_fd(stream, &number), p2p_request_send(node, NOBODY, "/x/1", NULL, 0, NULL, &block, &len, NULL),
        p2p_request_open(node, NOBODY, "/x/1", NULL, 0, NULL, &out, NULL), p2p_request_next(1, &block, &len, NULL),
        p2p_request_serve(node, "/x/1", NULL, queue, 0, &out), p2p_request_respond(1, &byte, 1, 0, NULL), p2p_request_fail(1, 1, "no"),
        p2p_topic_join(node, "x", NULL, queue, 0, &out), p2p_topic_publish(topic, &byte, 1, 0, NULL), p2p_topic_subscribe(topic, NULL, queue, 0, &out),
        p2p_topic_peers(topic, &text),
    };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i] != P2P_E_FORKED) return (int)i + 1;
    if (!*p2p_last_error() || p2p_abi() != P2P_ABI || !*p2p_version()) return 100;
    return 0;
}

static struct pair open_everything(void)
{
    struct pair pair = new_pair(TCP);
    p2p_handle far;
    node = pair.a;
    queue = new_queue();
    GOOD(p2p_config_new(NULL, &config));
    new_stream(&pair, &stream, &far);
    GOOD(p2p_topic_join(node, "x", NULL, 0, 0, &topic));
    return pair;
}

static void still_works(const struct pair *pair)
{
    int64_t rtt;
    GOOD(p2p_peer_ping(pair->a, pair->b_id, &rtt, NULL));
}

static void close_everything(struct pair *pair)
{
    close_pair(pair);
    GOOD(p2p_close(queue));
    GOOD(p2p_close(config));
}

TEST(forked_child__gets_the_code_from_every_call_and_the_parent_goes_on)
{
    struct pair pair = open_everything();
    for (int i = 0; i < 20; i++) {
        IN_CHILD(every_call_says_forked());
        still_works(&pair);
    }
    close_everything(&pair);
}

static atomic_int stop;

static void *ping_and_poll(void *argument)
{
    const struct pair *pair = argument;
    p2p_event event;
    int64_t rtt;
    while (!stop) {
        GOOD(p2p_peer_ping(pair->a, pair->b_id, &rtt, NULL));
        GOOD(p2p_queue_post(queue, 0, 0, NULL, 0));
        GOOD(p2p_queue_poll(queue, &event, 1, NULL, 0, 0));
    }
    return NULL;
}

/* The moment of the fork falls anywhere: into the queue's lock, into the error's store, into Go. */
TEST(forked_child__of_a_busy_parent_does_not_hang)
{
    struct pair pair = open_everything();
    pthread_t thread;
    stop = 0;
    CHECK(pthread_create(&thread, NULL, ping_and_poll, &pair) == 0);
    for (int i = 0; i < 100; i++) IN_CHILD(every_call_says_forked());
    stop = 1;
    pthread_join(thread, NULL);
    close_everything(&pair);
}

TEST(forked_child__that_exits_normally_ends)
{
    struct pair pair = open_everything();
    for (int i = 0; i < 5; i++) {
        int status;
        fflush(stdout);
        const pid_t pid = fork();
        if (pid == 0) {
            alarm((unsigned)(20 * slow()));
            exit(0); /* runs the library's destructors, if it has any */
        }
        CHECK(waitpid(pid, &status, 0) == pid);
        ENDS_WELL(status);
    }
    still_works(&pair);
    close_everything(&pair);
}

SCENARIO(starts_a_node) { GOOD(p2p_close(new_node(TCP, NULL))); }

/* The descriptors beyond the standard three that a program started now would inherit. */
static int inheritable(void)
{
    int count = 0;
    for (int fd = 3; fd < 1024; fd++) {
        const int flags = fcntl(fd, F_GETFD);
        count += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return count;
}

TEST(executed_child__inherits_no_descriptor_and_may_use_the_library)
{
    const int before = inheritable(); /* what a shell or a runner gave us */
    struct pair pair = new_pair(TCP);
    p2p_handle near, far;
    int bell, socket;
    queue = new_queue();
    new_stream(&pair, &near, &far);
    GOOD(p2p_queue_fd(queue, &bell));
    GOOD(p2p_stream_fd(near, &socket));
    EQUAL(inheritable(), before);
    ENDS_WELL(run_scenario("starts_a_node"));
    still_works(&pair);
    close(bell);
    close(socket);
    close_pair(&pair);
    GOOD(p2p_close(queue));
}
