#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "libp2p.h"

/* A dial error lists every address with its reason; a peer rarely has more than a few dozen. */
#define WORDS_MAX 8192

struct last {
    int64_t detail;
    char words[WORDS_MAX];
};

/* Only a pointer is thread-local: Go makes the library's TLS static, and a large block there could not be loaded by dlopen. */
static __thread struct last *last;
static pthread_key_t last_key; /* frees it when the thread ends */
static pthread_once_t last_once = PTHREAD_ONCE_INIT;

/* Destructors of the host that come later may call the library once more: they get a new one. */
static void last_free(void *of_thread)
{
    last = NULL;
    free(of_thread);
}

static void last_key_make(void)
{
    pthread_key_create(&last_key, last_free);
}

static struct last *last_get(void)
{
    if (!last && (last = calloc(1, sizeof *last)) != NULL) {
        pthread_once(&last_once, last_key_make);
        pthread_setspecific(last_key, last);
    }
    return last;
}

int error_set(int code, int64_t detail, const char *words, size_t len)
{
    struct last *l = last_get();

    if (!l)
        return code;
    if (len >= sizeof l->words) {
        len = sizeof l->words - 1;
        while (len > 0 && ((unsigned char)words[len] & 0xC0U) == 0x80U) /* not inside a UTF-8 character */
            len--;
    }
    if (len > 0)
        memcpy(l->words, words, len);
    l->words[len] = '\0';
    l->detail = detail;
    return code;
}

int error_fmt(int code, const char *format, ...)
{
    struct last *l = last_get();
    va_list args;

    if (!l)
        return code;
    va_start(args, format);
    vsnprintf(l->words, sizeof l->words, format, args);
    va_end(args);
    l->detail = 0;
    return code;
}

int error_detail(int code, int64_t detail)
{
    if (last)
        last->detail = detail;
    return code;
}

const char *p2p_last_error(void)
{
    return last ? last->words : "";
}

int64_t p2p_last_detail(void)
{
    return last ? last->detail : 0;
}

#define NAME(code) \
    case code:     \
        return #code

const char *p2p_error_name(int code)
{
    switch (code) {
        NAME(P2P_E_INVALID);
        NAME(P2P_E_HANDLE);
        NAME(P2P_E_KIND);
        NAME(P2P_E_CONFIG);
        NAME(P2P_E_PARSE);
        NAME(P2P_E_CLOSED);
        NAME(P2P_E_STATE);
        NAME(P2P_E_EXISTS);
        NAME(P2P_E_BUSY);
        NAME(P2P_E_FORKED);
        NAME(P2P_E_TIMEOUT);
        NAME(P2P_E_CANCELLED);
        NAME(P2P_E_AGAIN);
        NAME(P2P_E_DIAL);
        NAME(P2P_E_NO_ADDRESS);
        NAME(P2P_E_NOT_FOUND);
        NAME(P2P_E_REFUSED);
        NAME(P2P_E_PROTOCOL);
        NAME(P2P_E_RESET);
        NAME(P2P_E_REMOTE);
        NAME(P2P_E_SECURITY);
        NAME(P2P_E_LISTEN);
        NAME(P2P_E_LIMIT);
        NAME(P2P_E_REJECTED);
        NAME(P2P_E_TOO_BIG);
        NAME(P2P_E_PERMISSION);
        NAME(P2P_E_PEERS);
        NAME(P2P_E_NOMEM);
        NAME(P2P_E_SYSTEM);
        NAME(P2P_E_UNSUPPORTED);
        NAME(P2P_E_INTERNAL);
        NAME(P2P_E_LIMITED);
    default:
        return "P2P_E_UNKNOWN";
    }
}
