#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bell.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void write_byte(int fd)
{
    ssize_t n;

    do
        n = write(fd, "", 1);
    while (n < 0 && errno == EINTR); /* EAGAIN: full, hence readable */
}

void bell_init(struct bell *b)
{
    b->raised = 0;
    b->pipe[0] = b->pipe[1] = -1;
}

int bell_raise(struct bell *b)
{
    if (b->raised)
        return 0;
    b->raised = 1;
    if (b->pipe[1] >= 0)
        write_byte(b->pipe[1]);
    return 1;
}

void bell_lower(struct bell *b)
{
    char sink[64];
    ssize_t n;

    if (!b->raised)
        return;
    b->raised = 0;
    if (b->pipe[0] < 0)
        return;
    do
        n = read(b->pipe[0], sink, sizeof sink);
    while (n > 0 || (n < 0 && errno == EINTR));
}

int bell_fd(struct bell *b)
{
    if (b->pipe[0] < 0) {
        if (pipe2(b->pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
            b->pipe[0] = b->pipe[1] = -1;
            return -1;
        }
        if (b->raised)
            write_byte(b->pipe[1]);
    }
    return fcntl(b->pipe[0], F_DUPFD_CLOEXEC, 0);
}

void bell_end(struct bell *b)
{
    for (int i = 0; i < 2; i++) {
        if (b->pipe[i] >= 0)
            close(b->pipe[i]);
        b->pipe[i] = -1;
    }
}
