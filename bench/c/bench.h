/* What the parts of the C contender share; see README.md for the command line. */
#ifndef BENCH_H
#define BENCH_H

#include <libp2p.h>
#include <stdint.h>

#define BULK "/bench/bulk/1.0.0"
#define ECHO "/bench/echo/1.0.0"
#define REQUEST "/bench/request/1.0.0"
#define COUNT "/bench/count/1.0.0"
#define TOPIC "bench"

struct options {
    const char *role, *scenario, *transport, *security, *peer, *signing;
    size_t size;
    int64_t bytes;
    int count, inflight;
    double seconds;
};

/* now returns seconds of a clock that only goes forward. */
double now(void);

/* die ends the program with the words of this thread's last failed call. */
void die(const char *what);

/* need passes a good result on and ends the program on an error. */
int64_t need(int64_t result, const char *what);

/* percentiles sorts the times and tells the median and the 99th percentile in microseconds. */
void percentiles(double *times, int count, double *p50, double *p99);

/* listen_until_eof serves the dialler until standard input ends. */
void listen_until_eof(p2p_handle node, const struct options *o);

/* dial runs the scenario against peer and prints its result. */
void dial(p2p_handle node, const char *peer, const struct options *o);

#endif
