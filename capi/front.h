/* What every public function does before it enters Go: is this process allowed, are the arguments there, how shall it wait. */
#ifndef P2PGO_FRONT_H
#define P2PGO_FRONT_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "libp2p.h"
#include "process.h"

/* Handle numbers start high, so that a small stray integer is never one. Same in handle.go. */
#define FIRST_ID 0x100000U

/* The longest input. A length that went through a signed type, or was never set, is larger than this. */
#define MAX_BYTES ((size_t)1 << 30)

/* How a call waits, read from a p2p_call. */
struct front_wait {
    int32_t timeout_ms; /* > 0, or -1 */
    int32_t named;      /* the caller gave a p2p_call, whose tag p2p_cancel may use */
    p2p_handle queue;
    uint64_t tag;
};

int front_forked(void);
int front_null(const char *name);
int front_length(const char *name, size_t len);
int front_wait(const p2p_call *call, struct front_wait *wait);

/* front_kind sets and returns the error for a handle that is not an open one of kind, 0: of any. */
int front_kind(p2p_handle handle, int kind);

#define ENTER()                                \
    do {                                       \
        if (__builtin_expect(process_forked, 0)) \
            return front_forked();             \
    } while (0)

#define NEED(pointer)                     \
    do {                                  \
        if (!(pointer))                   \
            return front_null(#pointer);  \
    } while (0)

#define NEED_BYTES(pointer, len)                  \
    do {                                          \
        if ((len) > MAX_BYTES)                    \
            return front_length(#pointer, (len)); \
        if ((len) > 0)                            \
            NEED(pointer);                        \
    } while (0)

/* CLEAR sets an out-parameter to nothing. It comes before everything that may fail, so that no error leaves something that could be freed. */
#define CLEAR(out)     \
    do {               \
        if (out)       \
            *(out) = 0; \
    } while (0)

/* WAIT reads call into wait. */
#define WAIT(call, wait)                          \
    do {                                          \
        int wait_code = front_wait((call), (wait)); \
        if (wait_code < 0)                        \
            return wait_code;                     \
    } while (0)

/* NEED_OUT: an out-parameter that a blocking call must have. */
#define NEED_OUT(wait, out)   \
    do {                      \
        if (!(wait)->queue)   \
            NEED(out);        \
    } while (0)

#endif
