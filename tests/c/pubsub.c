/* Pubsub: join, publish, subscribe, rules, verdicts, overflow, loss. */
#include "support.h"

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

struct group {
    struct pair pair;
    p2p_handle queue_a, queue_b, a, b; /* topics */
    struct taken *t;
};

/* Both join; a has seen that b is subscribed, and b that a is. */
static struct group begin_with(const char *over, const char *config, const char *options_b, const char *subscribe_b)
{
    struct group g = {.pair = new_pair_with(over, config), .queue_a = new_queue(), .queue_b = new_queue(), .t = malloc(sizeof(struct taken))};
    p2p_handle subscription;
    GOOD(p2p_topic_join(g.pair.a, "news", NULL, g.queue_a, 1, &g.a));
    GOOD(p2p_topic_join(g.pair.b, "news", options_b, g.queue_b, 2, &g.b));
    GOOD(p2p_topic_subscribe(g.a, NULL, g.queue_a, 3, &subscription));
    GOOD(p2p_topic_subscribe(g.b, subscribe_b, g.queue_b, 4, &subscription));
    wait_event(g.queue_a, P2P_EVENT_TOPIC_JOINED, g.t);
    EQUAL_TEXT(line_of(g.t, 0), g.pair.b_id);
    EQUAL(g.t->event.subject, g.a);
    EQUAL(g.t->event.tag, 1);
    wait_event(g.queue_b, P2P_EVENT_TOPIC_JOINED, g.t);
    EQUAL_TEXT(line_of(g.t, 0), g.pair.a_id);
    return g;
}

static struct group begin(const char *over) { return begin_with(over, NULL, NULL, NULL); }

static void finish(struct group *g)
{
    close_pair(&g->pair);
    GOOD(p2p_close(g->queue_a));
    GOOD(p2p_close(g->queue_b));
    free(g->t);
}

static void expect_data(const struct taken *t, const char *text) { CHECK(t->len == strlen(text) && memcmp(t->data, text, t->len) == 0); }

TEST_OVER(publish__reaches_everybody_and_oneself_with_all_facts)
{
    struct group g = begin(over);
    EQUAL(GOOD(p2p_topic_publish(g.a, bytes("hello"), 5, 1, NULL)), 1);
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    EQUAL(g.t->event.tag, 4);
    expect_data(g.t, "hello");
    EQUAL_TEXT(line_of(g.t, 0), g.pair.a_id);
    EQUAL_TEXT(line_of(g.t, 1), g.pair.a_id);
    CHECK(strlen(line_of(g.t, 2)) >= 16 && strspn(line_of(g.t, 2), "0123456789abcdef") == strlen(line_of(g.t, 2)));
    EQUAL_TEXT(line_of(g.t, 3), "news");
    CHECK((g.t->event.flags & P2P_FLAG_SIGNED) && !(g.t->event.flags & P2P_FLAG_LOCAL));
    CHECK(g.t->event.value > 0);
    wait_event(g.queue_a, P2P_EVENT_MESSAGE, g.t);
    expect_data(g.t, "hello");
    CHECK(g.t->event.flags & P2P_FLAG_LOCAL);
    finish(&g);
}

TEST(publish__unsigned_carries_no_author)
{
    struct group g = begin_with(TCP, "\"pubsub\": {\"signing\": \"none\"}", NULL, NULL);
    GOOD(p2p_topic_publish(g.a, bytes("anonymous"), 9, 1, NULL));
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    expect_data(g.t, "anonymous");
    EQUAL_TEXT(line_of(g.t, 0), "");
    EQUAL_TEXT(line_of(g.t, 1), g.pair.a_id);
    CHECK(!(g.t->event.flags & P2P_FLAG_SIGNED));
    finish(&g);
}

TEST(publish__to_nobody_goes_to_nobody)
{
    p2p_handle node = new_node(NULL, NULL), queue = new_queue(), topic;
    const p2p_call call = within(80);
    GOOD(p2p_topic_join(node, "alone", NULL, queue, 0, &topic));
    EQUAL(p2p_topic_publish(topic, bytes("x"), 1, 0, NULL), 0);
    ERROR(p2p_topic_publish(topic, bytes("x"), 1, 1, &call), P2P_E_PEERS);
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
}

TEST(publish__waits_for_peers)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), a, b, subscription;
    struct taken *t = malloc(sizeof *t);
    const p2p_call call = on(queue, 9);
    GOOD(p2p_topic_join(pair.a, "late", NULL, 0, 0, &a));
    EQUAL(p2p_topic_publish(a, bytes("worth waiting"), 13, 1, &call), P2P_PENDING);
    no_event(queue, 50);
    GOOD(p2p_topic_join(pair.b, "late", NULL, queue, 0, &b));
    GOOD(p2p_topic_subscribe(b, NULL, queue, 0, &subscription));
    int done = 0, arrived = 0;
    while (!done || !arrived) {
        next_event(queue, t);
        if (t->event.type == P2P_EVENT_DONE) {
            EQUAL(t->event.status >= 0, 1);
            EQUAL(t->event.value, 1);
            done = 1;
        }
        if (t->event.type == P2P_EVENT_MESSAGE) {
            expect_data(t, "worth waiting");
            arrived = 1;
        }
    }
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(publish__completes_in_order)
{
    struct group g = begin(TCP);
    p2p_handle queue = new_queue();
    for (uint64_t i = 0; i < 200; i++) {
        const p2p_call call = on(queue, i);
        EQUAL(p2p_topic_publish(g.a, bytes("x"), 1, 0, &call), P2P_PENDING);
    }
    for (uint64_t i = 0; i < 200; i++) {
        next_event(queue, g.t);
        EQUAL(g.t->event.type, P2P_EVENT_DONE);
        EQUAL(g.t->event.tag, i);
        EQUAL(g.t->event.value, 1);
    }
    finish(&g);
    GOOD(p2p_close(queue));
}

TEST_OVER(publish__burst_of_ten_thousand_is_lossless)
{
    struct group g = begin(over);
    p2p_handle done = new_queue();
    static p2p_event events[512];
    static uint8_t data[512 * 512];
    static char seen[10000];
    uint8_t payload[100] = {0};
    int arrived = 0, n;
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < 10000; i++) {
        const p2p_call call = on(done, i);
        memcpy(payload, &i, sizeof i);
        EQUAL(p2p_topic_publish(g.a, payload, sizeof payload, 0, &call), P2P_PENDING);
    }
    while (arrived < 10000) {
        n = (int)GOOD(p2p_queue_poll(g.queue_b, events, 512, data, sizeof data, limit_ms()));
        if (n == 0) FAIL("only %d of 10000 arrived", arrived);
        for (int i = 0; i < n; i++) {
            uint32_t number;
            if (events[i].type == P2P_EVENT_DROPPED) FAIL("%lld were dropped", (long long)events[i].value);
            if (events[i].type != P2P_EVENT_MESSAGE) continue;
            memcpy(&number, data + events[i].data_offset, sizeof number);
            CHECK(number < 10000 && !seen[number]);
            seen[number] = 1;
            arrived++;
        }
    }
    finish(&g);
    GOOD(p2p_close(done));
}

TEST(publish__too_big_is_told)
{
    struct group g = begin_with(TCP, "\"pubsub\": {\"max_message_size\": 2000}", NULL, NULL);
    static uint8_t block[2001];
    ERROR(p2p_topic_publish(g.a, block, sizeof block, 0, NULL), P2P_E_TOO_BIG);
    GOOD(p2p_topic_publish(g.a, block, 1000, 1, NULL));
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    EQUAL(g.t->len, 1000);
    finish(&g);
}

TEST(topic_rule__size_holds_for_oneself_and_for_others)
{
    struct group g = begin_with(TCP, NULL, "{\"max_size\": 10}", NULL);
    ERROR(p2p_topic_publish(g.b, bytes("eleven char"), 11, 0, NULL), P2P_E_REJECTED);
    GOOD(p2p_topic_publish(g.a, bytes("eleven char"), 11, 1, NULL));
    GOOD(p2p_topic_publish(g.a, bytes("short"), 5, 1, NULL));
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    expect_data(g.t, "short");
    finish(&g);
}

TEST(topic_rule__signers)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue = new_queue(), a, b, subscription;
    struct taken *t = malloc(sizeof *t);
    char options[256];
    snprintf(options, sizeof options, "{\"signers\": [\"%s\"]}", pair.a_id);
    GOOD(p2p_topic_join(pair.a, "signed", NULL, 0, 0, &a));
    GOOD(p2p_topic_join(pair.b, "signed", options, 0, 0, &b));
    GOOD(p2p_topic_subscribe(b, NULL, queue, 0, &subscription));
    ERROR(p2p_topic_publish(b, bytes("not mine to say"), 15, 0, NULL), P2P_E_REJECTED);
    GOOD(p2p_topic_publish(a, bytes("mine"), 4, 1, NULL));
    wait_event(queue, P2P_EVENT_MESSAGE, t);
    expect_data(t, "mine");
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(topic_validate__asks_and_the_verdict_decides)
{
    struct group g = begin_with(TCP, NULL, "{\"validate\": true, \"validate_timeout_ms\": 20000}", NULL);
    const char *const texts[] = {"reject me", "ignore me", "take me"};
    const int verdicts[] = {P2P_VERDICT_REJECT, P2P_VERDICT_IGNORE, P2P_VERDICT_ACCEPT};
    for (int i = 0; i < 3; i++) {
        GOOD(p2p_topic_publish(g.a, bytes(texts[i]), strlen(texts[i]), 1, NULL));
        wait_event(g.queue_b, P2P_EVENT_VALIDATE, g.t);
        EQUAL(g.t->event.subject, g.b);
        EQUAL(g.t->event.tag, 2);
        EQUAL_TEXT(line_of(g.t, 0), g.pair.a_id);
        expect_data(g.t, texts[i]);
        const p2p_handle token = g.t->event.object;
        ERROR(p2p_answer(token, 3), P2P_E_INVALID);
        GOOD(p2p_answer(token, verdicts[i]));
        ERROR(p2p_answer(token, P2P_VERDICT_ACCEPT), P2P_E_HANDLE);
    }
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    expect_data(g.t, "take me");
    finish(&g);
}

TEST(topic_validate__nobody_answers_and_the_default_holds)
{
    struct group g = begin_with(TCP, NULL, "{\"validate\": true, \"validate_timeout_ms\": 250, \"validate_default\": \"accept\"}", NULL);
    GOOD(p2p_topic_publish(g.a, bytes("by default"), 10, 1, NULL));
    wait_event(g.queue_b, P2P_EVENT_VALIDATE, g.t);
    const p2p_handle token = g.t->event.object;
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    expect_data(g.t, "by default");
    ERROR(p2p_answer(token, P2P_VERDICT_REJECT), P2P_E_HANDLE);
    EQUAL(info_number(g.b, "verdicts_late"), 1);
    finish(&g);
}

/* Fills a subscription of four messages, whose queue holds 16 KiB, and counts what came and what was announced as dropped. */
static void overflow(const char *options, int *first, int *last, int *dropped)
{
    struct pair pair = new_pair(TCP);
    p2p_handle queue, a, b, subscription;
    struct taken *t = malloc(sizeof *t);
    static uint8_t payload[16 * 1024];
    GOOD(p2p_queue_new(16 * 1024, &queue));
    GOOD(p2p_topic_join(pair.a, "flood", NULL, 0, 0, &a));
    GOOD(p2p_topic_join(pair.b, "flood", NULL, 0, 0, &b));
    GOOD(p2p_topic_subscribe(b, options, queue, 0, &subscription));
    for (int i = 0; i < 200; i++) {
        memcpy(payload, &i, sizeof i);
        GOOD(p2p_topic_publish(a, payload, sizeof payload, 1, NULL));
    }
    EVENTUALLY(info_number(subscription, "delivered") + info_number(subscription, "dropped") + info_number(subscription, "waiting") >= 200);
    int messages = 0;
    *first = *last = -1;
    *dropped = 0;
    while (messages + *dropped < 200) {
        next_event(queue, t);
        if (t->event.type == P2P_EVENT_DROPPED) {
            EQUAL(t->event.subject, subscription);
            *dropped += (int)t->event.value;
        } else {
            EQUAL(t->event.type, P2P_EVENT_MESSAGE);
            messages++;
            memcpy(last, t->data, sizeof *last);
            if (*first < 0) *first = *last;
        }
    }
    EQUAL(messages + *dropped, 200);
    EQUAL(info_number(subscription, "dropped"), *dropped);
    close_pair(&pair);
    GOOD(p2p_close(queue));
    free(t);
}

TEST(subscription__drop_oldest_keeps_the_last_and_tells)
{
    int first, last, dropped;
    overflow("{\"capacity\": 4, \"overflow\": \"drop_oldest\"}", &first, &last, &dropped);
    CHECK(dropped > 0);
    CHECK(last >= 150); /* validation may overtake: neighbours change places */
}

TEST(subscription__drop_newest_keeps_the_first_and_tells)
{
    int first, last, dropped;
    overflow("{\"capacity\": 4, \"overflow\": \"drop_newest\"}", &first, &last, &dropped);
    CHECK(dropped > 0);
    CHECK(first >= 0 && first < 50);
}

TEST(topic__peers_come_and_go)
{
    struct group g = begin(TCP);
    char *peers;
    GOOD(p2p_topic_peers(g.a, &peers));
    EQUAL_TEXT(peers, g.pair.b_id);
    p2p_free(peers);
    GOOD(p2p_close(g.b));
    wait_event(g.queue_a, P2P_EVENT_TOPIC_LEFT, g.t);
    EQUAL_TEXT(line_of(g.t, 0), g.pair.b_id);
    GOOD(p2p_topic_peers(g.a, &peers));
    EQUAL_TEXT(peers, "");
    p2p_free(peers);
    finish(&g);
}

TEST(topic__can_be_joined_once_and_again_after_closing)
{
    p2p_handle node = new_node(NULL, NULL), topic, again = 1;
    GOOD(p2p_topic_join(node, "once", NULL, 0, 0, &topic));
    ERROR(p2p_topic_join(node, "once", NULL, 0, 0, &again), P2P_E_EXISTS);
    EQUAL(again, 0);
    CONTAINS(p2p_last_error(), "once");
    GOOD(p2p_close(topic));
    GOOD(p2p_topic_join(node, "once", NULL, 0, 0, &again));
    GOOD(p2p_close(node));
}

TEST(topic__needs_pubsub)
{
    p2p_handle node = new_node(NULL, "\"pubsub\": {\"enabled\": false}"), topic;
    ERROR(p2p_topic_join(node, "x", NULL, 0, 0, &topic), P2P_E_STATE);
    GOOD(p2p_close(node));
}

TEST(subscription_close__ends_its_messages_alone)
{
    struct group g = begin(TCP);
    p2p_handle queue = new_queue(), second;
    GOOD(p2p_topic_subscribe(g.b, NULL, queue, 0, &second));
    GOOD(p2p_topic_publish(g.a, bytes("both"), 4, 1, NULL));
    wait_event(queue, P2P_EVENT_MESSAGE, g.t);
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    GOOD(p2p_close(second));
    wait_event(queue, P2P_EVENT_CLOSED, g.t);
    EQUAL(g.t->event.subject, second);
    EQUAL(g.t->event.status, 0);
    GOOD(p2p_topic_publish(g.a, bytes("one"), 3, 1, NULL));
    wait_event(g.queue_b, P2P_EVENT_MESSAGE, g.t);
    expect_data(g.t, "one");
    finish(&g);
    GOOD(p2p_close(queue));
}
