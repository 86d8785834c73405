/* What must happen before and right after Go's own start inside a host process (Linux, glibc, c-shared).
 *
 * Go's threads inherit the signal mask of the thread that starts them. Started with the host's signals blocked, they never run a
 * host handler (libuv's lack SA_ONSTACK), never take a signal meant for signalfd or sigwait, and a write to a gone peer raises
 * SIGPIPE on nobody. The signals Go needs itself, and the synchronous ones, stay open. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

#include "process.h"

volatile int process_forked;

static sigset_t host_mask;
static int masked;

static void in_child(void)
{
    process_forked = 1;
}

/* Priority 101 runs ahead of the Go runtime's initialiser. */
__attribute__((constructor(101))) static void before_go(void)
{
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF, SIGURG};
    sigset_t blocked;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        sigdelset(&blocked, open[i]);
    masked = pthread_sigmask(SIG_SETMASK, &blocked, &host_mask) == 0;
}

__attribute__((constructor)) static void after_go(void)
{
    if (masked)
        pthread_sigmask(SIG_SETMASK, &host_mask, NULL);
    pthread_atfork(NULL, NULL, in_child);
}
