/* What is closed is given back: handles, goroutines, descriptors, ports, memory. NODES and STREAMS set the number of cycles; the full run
 * of a release is NODES=1000 STREAMS=100000. */
#include "support.h"

#include <dirent.h>
#include <malloc.h>

struct count {
    int64_t handles, goroutines, descriptors, threads, ports, heap, resident;
};

static int64_t entries(const char *folder)
{
    DIR *directory = opendir(folder);
    int64_t count = 0;
    CHECK(directory != NULL);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

/* Bytes of memory that are really there. */
static int64_t resident(void)
{
    long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &all, &pages) == 2);
    fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* Sockets of this process that are bound, in whatever protocol. */
static int64_t sockets(void)
{
    int64_t count = 0;
    for (int fd = 0; fd < 4096; fd++) {
        struct sockaddr_storage place;
        socklen_t size = sizeof place;
        if (getsockname(fd, (struct sockaddr *)&place, &size) == 0 && (place.ss_family == AF_INET || place.ss_family == AF_INET6)) count++;
    }
    return count;
}

static struct count count(void)
{
    malloc_trim(0);
    return (struct count){
        .handles = p2p_live_handles(0),
        .goroutines = runtime_number("goroutines"),
        .descriptors = entries("/proc/self/fd"),
        .threads = entries("/proc/self/task"),
        .ports = sockets(),
        .heap = runtime_number("heap_bytes"),
        .resident = resident(),
    };
}

static void print(const char *when, const struct count *c)
{
    printf("# %s: %lld handles, %lld goroutines, %lld descriptors, %lld threads, %lld sockets, %lld KiB heap, %lld KiB resident\n", when,
           (long long)c->handles, (long long)c->goroutines, (long long)c->descriptors, (long long)c->threads, (long long)c->ports,
           (long long)c->heap / 1024, (long long)c->resident / 1024);
}

/* Goroutines of the standard library may take a moment to return after what they served was closed; handles may not. */
static void is_back_at(const struct count *baseline)
{
    EQUAL(p2p_live_handles(0), baseline->handles);
    EQUAL(sockets(), baseline->ports);
    EVENTUALLY(runtime_number("goroutines") <= baseline->goroutines);
    EVENTUALLY(entries("/proc/self/fd") <= baseline->descriptors);
}

/* Runs cycle `times` times after a warm-up and compares the memory at the middle and at the end: it must not grow with the number. */
static void repeat(const char *what, long times, void (*cycle)(void), int64_t allowed_growth)
{
    struct count middle, end;
    for (long i = 0; i < times / 10 + 1; i++) cycle();
    const struct count baseline = count();
    print("after the warm-up", &baseline);
    for (long i = 0; i < times / 2; i++) cycle();
    middle = count();
    print("at the middle", &middle);
    for (long i = times / 2; i < times; i++) cycle();
    is_back_at(&baseline);
    end = count();
    print("at the end", &end);
    printf("# %ld %s\n", times, what);
    if (getenv("ASAN_OPTIONS")) return; /* its quarantine grows */
    if (end.resident - middle.resident > allowed_growth)
        FAIL("%lld KiB more memory after the second half", (long long)(end.resident - middle.resident) / 1024);
}

static void node_cycle(void)
{
    p2p_handle node;
    GOOD(p2p_node_new(0, 0, 0, &node, NULL));
    GOOD(p2p_close(node));
}

TEST(node_cycles__give_everything_back)
{
    node_cycle(); /* what is made once per process */
    const struct count first = count();
    repeat("nodes", number_from_environment("NODES", 40), node_cycle, 8 << 20);
    is_back_at(&first);
}

static void pair_cycle(void)
{
    struct pair pair = new_pair(QUIC);
    p2p_handle near, far, queue = new_queue(), topic, subscription;
    new_stream(&pair, &near, &far);
    GOOD(p2p_topic_join(pair.a, "t", NULL, queue, 0, &topic));
    GOOD(p2p_topic_subscribe(topic, NULL, queue, 0, &subscription));
    GOOD(p2p_topic_publish(topic, (const uint8_t *)"x", 1, 0, NULL));
    close_pair(&pair);
    GOOD(p2p_close(queue));
}

TEST(pair_cycles__give_everything_back)
{
    pair_cycle();
    const struct count first = count();
    repeat("connected pairs", number_from_environment("PAIRS", 20), pair_cycle, 12 << 20);
    is_back_at(&first);
}

static struct pair streaming;
static p2p_handle stream_queue;
static struct taken taken;

/* Odd streams end by a reset; every fourth is watched; of some nothing is read. */
static void stream_cycle(void)
{
    static unsigned number;
    p2p_handle stream;
    uint8_t byte = (uint8_t)number++;
    GOOD(p2p_stream_open(streaming.a, streaming.b_id, "/leak/1", NULL, &stream, NULL));
    EQUAL(p2p_stream_write(stream, &byte, 1, NULL), 1);
    wait_event(stream_queue, P2P_EVENT_STREAM, &taken);
    const p2p_handle far = taken.event.object;
    if (number % 4 == 0) {
        GOOD(p2p_stream_watch(far, stream_queue, 0, 0, 0));
        wait_event(stream_queue, P2P_EVENT_STREAM_DATA, &taken);
    } else if (number % 5) {
        EQUAL(p2p_stream_read(far, &byte, 1, NULL), 1);
    }
    if (number % 2) GOOD(p2p_stream_reset(stream, 5));
    GOOD(p2p_close(stream));
    GOOD(p2p_close(far));
}

TEST(stream_cycles__give_everything_back)
{
    const struct count nothing = count();
    p2p_handle service;
    streaming = new_pair(TCP);
    stream_queue = new_queue();
    GOOD(p2p_stream_serve(streaming.b, "/leak/1", NULL, stream_queue, 0, &service));
    repeat("streams", number_from_environment("STREAMS", 3000), stream_cycle, 8 << 20);
    close_pair(&streaming);
    GOOD(p2p_close(stream_queue));
    is_back_at(&nothing);
}

static void request_cycle(void)
{
    const p2p_call call = on(stream_queue, 9);
    EQUAL(p2p_request_send(streaming.a, streaming.b_id, "/leak/1", (const uint8_t *)"x", 1, NULL, NULL, NULL, &call), P2P_PENDING);
    wait_event(stream_queue, P2P_EVENT_REQUEST, &taken);
    GOOD(p2p_request_respond(taken.event.object, (const uint8_t *)"y", 1, 0, NULL));
    DONE_GOOD(stream_queue, 9, &taken);
}

TEST(request_cycles__give_everything_back)
{
    const struct count nothing = count();
    p2p_handle service;
    streaming = new_pair(TCP);
    stream_queue = new_queue();
    GOOD(p2p_request_serve(streaming.b, "/leak/1", NULL, stream_queue, 0, &service));
    repeat("requests", number_from_environment("REQUESTS", 2000), request_cycle, 8 << 20);
    close_pair(&streaming);
    GOOD(p2p_close(stream_queue));
    is_back_at(&nothing);
}

static void failing_cycle(void)
{
    p2p_handle config, node;
    char *text;
    ERROR(p2p_config_new("{\"pubsub\": {\"d\": -1}}", &config), P2P_E_CONFIG);
    GOOD(p2p_config_new("{\"listen\": [\"/ip4/192.0.2.1/tcp/0\"]}", &config));
    ERROR(p2p_node_new(config, 0, 0, &node, NULL), P2P_E_LISTEN);
    GOOD(p2p_close(config));
    GOOD(p2p_build_info(&text));
    p2p_free(text);
}

static p2p_handle failing_node, failing_queue;

/* Calls that fail after they have begun to make a handle. */
static void failing_open(void)
{
    p2p_handle out;
    ERROR(p2p_stream_serve(failing_node, "/taken/1.0.0", NULL, failing_queue, 0, &out), P2P_E_EXISTS);
    ERROR(p2p_stream_serve(failing_node, "/free/1.0.0", NULL, 0, 0, &out), P2P_E_INVALID);
    ERROR(p2p_topic_join(failing_node, "taken", NULL, failing_queue, 0, &out), P2P_E_EXISTS);
    ERROR(p2p_topic_join(failing_node, "free", NULL, 1, 0, &out), P2P_E_HANDLE);
    ERROR(p2p_relay_reserve(failing_node, "nonsense", failing_queue, 0, &out, NULL, NULL), P2P_E_PARSE);
    ERROR(p2p_rendezvous_register(failing_node, "nonsense", "name", NULL, failing_queue, 0, &out, NULL), P2P_E_PARSE);
}

TEST(failing_opens__leave_nothing_with_their_parent)
{
    p2p_handle out;
    failing_node = new_node(NULL, NULL);
    failing_queue = new_queue();
    GOOD(p2p_stream_serve(failing_node, "/taken/1.0.0", NULL, failing_queue, 0, &out));
    GOOD(p2p_topic_join(failing_node, "taken", NULL, failing_queue, 0, &out));
    repeat("failing opens", number_from_environment("FAILURES", 50000), failing_open, 8 << 20);
    GOOD(p2p_close(failing_node));
    GOOD(p2p_close(failing_queue));
}

TEST(failing_starts__give_everything_back)
{
    failing_cycle();
    const struct count first = count();
    repeat("failing starts", number_from_environment("NODES", 40), failing_cycle, 8 << 20);
    is_back_at(&first);
}
