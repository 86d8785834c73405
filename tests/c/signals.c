/* The host's signals stay the host's: SIGPIPE, SIGINT, signalfd, sigwait, alternate stacks, small thread stacks. */
#include "support.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

/* A stream whose peer is gone, written to from the library's threads and from ours. */
static void write_to_a_gone_peer(void)
{
    struct pair pair = new_pair(TCP);
    p2p_handle near, far;
    static uint8_t block[65536];
    const p2p_call brief = within(500);
    new_stream(&pair, &near, &far);
    GOOD(p2p_close(pair.b));
    for (int i = 0; i < 50 && p2p_stream_write(near, block, sizeof block, &brief) >= 0; i++) {}
    GOOD(p2p_close(pair.a));
}

SCENARIO(sigpipe_default_after_load)
{
    signal(SIGPIPE, SIG_DFL);
    write_to_a_gone_peer();
}

TEST(sigpipe__default_after_load_and_a_write_to_a_gone_peer) { ENDS_WELL(run_scenario("sigpipe_default_after_load")); }

SCENARIO(sigpipe_default_through_a_descriptor)
{
    struct pair pair = new_pair(TCP);
    p2p_handle near, far;
    int fd;
    signal(SIGPIPE, SIG_DFL);
    new_stream(&pair, &near, &far);
    GOOD(p2p_stream_fd(near, &fd));
    close(fd); /* the library's end of the socket pair is now a broken pipe for what b sends */
    p2p_stream_write(far, (const uint8_t *)"x", 1, NULL);
    pause_ms(50);
    close_pair(&pair);
}

TEST(sigpipe__default_and_a_detached_descriptor_that_was_closed) { ENDS_WELL(run_scenario("sigpipe_default_through_a_descriptor")); }

SCENARIO(waits_until_interrupted)
{
    p2p_handle queue = new_queue(), node = new_node_on(queue, TCP, NULL);
    p2p_event event;
    uint8_t data[4096];
    alarm((unsigned)(20 * slow()));
    CHECK(creat(getenv("WAITING"), 0600) >= 0);
    while (p2p_queue_poll(queue, &event, 1, data, sizeof data, -1) >= 0) {}
    GOOD(p2p_close(node));
}

/* Starts the scenario, sends the signal once it waits, and returns its end. */
static int interrupt_with(int number)
{
    char file[64];
    snprintf(file, sizeof file, "/tmp/libp2pgo-waiting-%d", (int)getpid());
    setenv("WAITING", file, 1);
    unlink(file);
    const pid_t pid = start_scenario("waits_until_interrupted");
    unsetenv("WAITING"); /* others of this program compare its environment with what it was given */
    EVENTUALLY(access(file, F_OK) == 0);
    unlink(file);
    kill(pid, number);
    return end_of_scenario(pid);
}

TEST(sigint__by_default_ends_a_process_that_waits)
{
    const int status = interrupt_with(SIGINT);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

TEST(sigterm__by_default_ends_a_process_that_waits)
{
    const int status = interrupt_with(SIGTERM);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static volatile sig_atomic_t handled;
static pthread_t handled_on;

static void handler(int number)
{
    (void)number;
    handled_on = pthread_self();
    handled++;
}

TEST(signal_handler__of_the_host_runs_on_the_hosts_thread)
{
    struct pair pair = new_pair(TCP);
    struct sigaction action = {.sa_handler = handler}, before;
    int64_t rtt;
    sigaction(SIGUSR1, &action, &before);
    for (int i = 1; i <= 500; i++) {
        kill(getpid(), SIGUSR1);
        if (i % 10 == 0) GOOD(p2p_peer_ping(pair.a, pair.b_id, &rtt, NULL));
        EVENTUALLY(handled > 0);
        CHECK(pthread_equal(handled_on, pthread_self()));
        handled = 0;
    }
    sigaction(SIGUSR1, &before, NULL);
    close_pair(&pair);
}

TEST(signalfd__gets_what_is_blocked_after_load)
{
    struct pair pair = new_pair(TCP);
    sigset_t set, before;
    struct signalfd_siginfo info;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    const int fd = signalfd(-1, &set, SFD_CLOEXEC);
    for (int i = 0; i < 100; i++) {
        const int number = i % 2 ? SIGINT : SIGTERM;
        kill(getpid(), number);
        EQUAL(read(fd, &info, sizeof info), sizeof info);
        EQUAL(info.ssi_signo, number);
    }
    close(fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close_pair(&pair);
}

TEST(sigwait__gets_what_is_blocked_after_load)
{
    struct pair pair = new_pair(QUIC);
    sigset_t set, before;
    const struct timespec limit = {limit_ms() / 1000, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    for (int i = 0; i < 100; i++) {
        kill(getpid(), SIGHUP);
        EQUAL(sigtimedwait(&set, NULL, &limit), SIGHUP);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close_pair(&pair);
}

TEST(loading__leaves_the_mask_alone)
{
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP) EQUAL(sigismember(&set, number), 0);
}

TEST(loading__leaves_the_handlers_of_other_signals_alone)
{
    const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT, SIGPROF};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        struct sigaction action;
        sigaction(ours[i], NULL, &action);
        if (action.sa_handler != SIG_DFL) FAIL("signal %d has a handler", ours[i]);
    }
}

/* The kernel keeps the environment as the program got it. */
TEST(loading__leaves_the_environment_alone)
{
    extern char **environ;
    static char given[1 << 20];
    char *text, *at = given;
    GOOD(p2p_build_info(&text)); /* the library has started when it answers */
    p2p_free(text);
    FILE *file = fopen("/proc/self/environ", "r");
    CHECK(file != NULL);
    const size_t len = fread(given, 1, sizeof given - 1, file);
    fclose(file);
    for (char **variable = environ; *variable; variable++) {
        if (at == given + len) FAIL("a new variable: %s", *variable);
        EQUAL_TEXT(*variable, at);
        at += strlen(at) + 1;
    }
    EQUAL(at - given, len);
}

/* Has the kernel ignore what any thread asks of the size of a socket's buffer. */
static int keep_buffers_small(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_setsockopt, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_RCVBUF, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_RCVBUFFORCE, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_SNDBUF, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_SNDBUFFORCE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

/* QUIC complains of small buffers: into the log, and nowhere else. */
SCENARIO(opens_quic_with_small_buffers)
{
    char said[4096] = "";
    struct taken *taken = malloc(sizeof *taken);
    p2p_handle queue = new_queue();
    FILE *file = tmpfile();
    CHECK(file && dup2(fileno(file), STDERR_FILENO) == STDERR_FILENO);
    if (!keep_buffers_small()) _exit(0); /* a kernel without filters, or a box that forbids them */
    GOOD(p2p_log_level("std", "warn"));
    GOOD(p2p_log_queue(queue, 0));
    p2p_handle node = new_node(QUIC, NULL);
    wait_event(queue, P2P_EVENT_LOG, taken);
    CONTAINS(taken->text, "buffer size");
    CHECK(pread(fileno(file), said, sizeof said - 1, 0) >= 0);
    EQUAL_TEXT(said, "");
    GOOD(p2p_close(node));
    GOOD(p2p_log_queue(0, 0));
    GOOD(p2p_close(queue));
    free(taken);
}

TEST(quic__with_small_buffers_writes_nothing_to_stderr) { ENDS_WELL(run_scenario("opens_quic_with_small_buffers")); }

static void *use_the_library(void *pair_of_nodes)
{
    const struct pair *pair = pair_of_nodes;
    p2p_handle queue, config;
    char *text;
    int64_t rtt;
    GOOD(p2p_peer_ping(pair->a, pair->b_id, &rtt, NULL));
    GOOD(p2p_queue_new(0, &queue));
    GOOD(p2p_queue_post(queue, 0, 0, NULL, 0));
    GOOD(p2p_close(queue));
    GOOD(p2p_config_new("{\"pubsub\": {\"d\": 8}}", &config));
    GOOD(p2p_config_get(config, "", &text));
    p2p_free(text);
    GOOD(p2p_close(config));
    GOOD(p2p_peer_info(pair->a, NULL, &text));
    p2p_free(text);
    ERROR(p2p_peer_connect(pair->a, "nonsense", NULL, NULL), P2P_E_PARSE);
    return NULL;
}

TEST(thread_stack__of_64_kib_is_enough)
{
    struct pair pair = new_pair(TCP);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 64 * 1024) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, use_the_library, &pair) == 0);
        pthread_join(thread, NULL);
        CHECK(!test_failed);
    }
    pthread_attr_destroy(&attributes);
    close_pair(&pair);
}

static void *with_an_alternate_stack(void *pair)
{
    stack_t mine = {.ss_sp = malloc(16384), .ss_size = 16384}, now;
    CHECK(sigaltstack(&mine, NULL) == 0);
    use_the_library(pair);
    CHECK(sigaltstack(NULL, &now) == 0);
    CHECK(now.ss_sp == mine.ss_sp); /* it is still ours */
    mine.ss_flags = SS_DISABLE;
    sigaltstack(&mine, NULL);
    free(mine.ss_sp);
    return NULL;
}

TEST(alternate_stack__of_a_thread_is_kept)
{
    struct pair pair = new_pair(TCP);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, with_an_alternate_stack, &pair) == 0);
    pthread_join(thread, NULL);
    close_pair(&pair);
}
