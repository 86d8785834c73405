/* harness.h - a test program in C: tests that register themselves, TAP on stdout, a deadline each.
 *
 *   program                 runs its tests; exit code 1 if one failed
 *   program NAME...         runs these
 *   program --list          prints their names
 *   program --scenario NAME runs a scenario: what a test starts as a process of its own, because it ends or harms the process
 *
 * A CHECK that fails ends its test (on another thread: the thread). Nothing forks behind the test's back. SLOW=4 stretches every limit. */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

static struct test *tests, *scenarios;
static jmp_buf test_end;
static pthread_t test_thread;
static volatile int test_failed;
static const char *volatile test_name = "";

static inline void harness_add(struct test **list, struct test *test)
{
    while (*list) list = &(*list)->next;
    *list = test;
}

#define HARNESS_DEFINE(list, name)                                                          \
    static void name(void);                                                                 \
    static struct test name##_entry = {#name, name, NULL};                                  \
    __attribute__((constructor)) static void name##_add(void) { harness_add(&list, &name##_entry); } \
    static void name(void)

/* TEST(subject__fact) { ... } */
#define TEST(name) HARNESS_DEFINE(tests, name)
#define SCENARIO(name) HARNESS_DEFINE(scenarios, name)

__attribute__((format(printf, 3, 4), noreturn)) static inline void harness_fail(const char *file, int line, const char *format, ...)
{
    va_list values;
    char text[1024];
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    printf("# %s:%d: %s\n", file, line, text);
    fflush(stdout);
    test_failed = 1;
    if (pthread_equal(pthread_self(), test_thread)) longjmp(test_end, 1);
    pthread_exit(NULL);
}

#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) FAIL("%s", #condition);                                           \
    } while (0)

#define EQUAL(value, wanted)                                                                \
    do {                                                                                    \
        const long long value_ = (long long)(value), wanted_ = (long long)(wanted);         \
        if (value_ != wanted_) FAIL("%s is %lld, not %s (%lld)", #value, value_, #wanted, wanted_); \
    } while (0)

#define EQUAL_TEXT(value, wanted)                                                           \
    do {                                                                                    \
        const char *value_ = (value), *wanted_ = (wanted);                                  \
        if (!value_ || strcmp(value_, wanted_) != 0) FAIL("%s is \"%s\", not \"%s\"", #value, value_ ? value_ : "(null)", wanted_); \
    } while (0)

#define CONTAINS(text, part)                                                                \
    do {                                                                                    \
        const char *text_ = (text), *part_ = (part);                                        \
        if (!text_ || !strstr(text_, part_)) FAIL("\"%s\" is not in: %s", part_, text_ ? text_ : "(null)"); \
    } while (0)

static inline double slow(void)
{
    const char *text = getenv("SLOW");
    const double factor = text ? atof(text) : 1;
    return factor > 0 ? factor : 1;
}

/* The time that anything awaited may take. */
static inline int limit_ms(void) { return (int)(20000 * slow()); }

static inline int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
}

/* Waits until the expression is true; looks every few milliseconds. */
#define EVENTUALLY(condition)                                                               \
    do {                                                                                    \
        const int64_t until_ = now_ms() + limit_ms();                                       \
        while (!(condition)) {                                                              \
            if (now_ms() > until_) FAIL("never came: %s", #condition);                      \
            pause_ms(2);                                                                    \
        }                                                                                   \
    } while (0)

/* A number from the environment, for counts that a quick run reduces. */
static inline long number_from_environment(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

/* Starts a scenario as a process of its own; its output goes to ours. */
static inline pid_t start_scenario(const char *name)
{
    extern char **environ;
    char self[] = "/proc/self/exe", option[] = "--scenario", scenario[128];
    char *arguments[] = {self, option, scenario, NULL};
    pid_t pid;
    snprintf(scenario, sizeof scenario, "%s", name);
    if (posix_spawn(&pid, self, NULL, NULL, arguments, environ) != 0) FAIL("cannot start scenario %s", name);
    return pid;
}

/* The wait status of a scenario. Fails the test when it does not end. */
static inline int end_of_scenario(pid_t pid)
{
    int status;
    for (const int64_t until = now_ms() + limit_ms(); now_ms() < until; pause_ms(5))
        if (waitpid(pid, &status, WNOHANG) == pid) return status;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    FAIL("a scenario does not end");
}

static inline int run_scenario(const char *name) { return end_of_scenario(start_scenario(name)); }

#define ENDS_WELL(status)                                                                   \
    do {                                                                                    \
        const int status_ = (status);                                                       \
        if (!WIFEXITED(status_) || WEXITSTATUS(status_) != 0)                               \
            FAIL("%s: %s %d", #status, WIFEXITED(status_) ? "exit code" : "killed by signal", \
                 WIFEXITED(status_) ? WEXITSTATUS(status_) : WTERMSIG(status_));            \
    } while (0)

static inline void harness_deadline(int signal_number)
{
    (void)signal_number;
    const char *const parts[] = {"not ok - ", test_name, " # deadline\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (write(STDOUT_FILENO, parts[i], strlen(parts[i])) < 0) break;
    _exit(1);
}

/* Set by the suite: run before each test, and after each that passed, which it may fail. */
static void (*before_each)(void), (*after_each)(void);

static inline int harness_run(struct test *test, int number)
{
    const int64_t start = now_ms();
    test_name = test->name;
    test_failed = 0;
    alarm((unsigned)(number_from_environment("DEADLINE", 120) * slow()));
    if (before_each) before_each();
    if (setjmp(test_end) == 0) {
        test->run();
        if (!test_failed && after_each) after_each();
    }
    alarm(0);
    printf("%s %d - %s # %lld ms\n", test_failed ? "not ok" : "ok", number, test->name, (long long)(now_ms() - start));
    fflush(stdout);
    return test_failed;
}

static inline int wanted(const struct test *test, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], test->name) == 0) return 1;
    return count == 0;
}

int main(int argc, char **argv)
{
    struct sigaction deadline = {.sa_handler = harness_deadline, .sa_flags = SA_ONSTACK};
    int number = 0, failed = 0;
    test_thread = pthread_self();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && strcmp(argv[1], "--scenario") == 0) {
        for (struct test *test = scenarios; test; test = test->next)
            if (strcmp(test->name, argv[2]) == 0) {
                test_name = test->name;
                if (setjmp(test_end) != 0) return 99;
                test->run();
                return test_failed ? 99 : 0;
            }
        return 98;
    }
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (struct test *test = tests; test; test = test->next) puts(test->name);
        return 0;
    }
    sigaction(SIGALRM, &deadline, NULL);
    for (struct test *test = tests; test; test = test->next)
        if (wanted(test, argc - 1, argv + 1)) failed += harness_run(test, ++number);
    printf("1..%d\n", number);
    if (number == 0) return 2;
    return failed != 0;
}

#endif
