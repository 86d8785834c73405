/* The last error of a thread, and the names of the codes. */
#ifndef P2PGO_ERROR_H
#define P2PGO_ERROR_H

#include <stddef.h>
#include <stdint.h>

/* error_set remembers words (len bytes, need not end in NUL; longer ones are cut) and detail for this thread and returns code. */
int error_set(int code, int64_t detail, const char *words, size_t len);

/* error_detail sets the number that goes with the words just set, and returns code. */
int error_detail(int code, int64_t detail);

/* error_fmt is error_set with printf words and no detail. */
int error_fmt(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
