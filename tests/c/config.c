/* Config, identity, and what the library says of itself: everything that works without a node. Bad input is in tests/cases. */
#include "support.h"

static void expect_option(p2p_handle config, const char *path, const char *json)
{
    char *text;
    GOOD(p2p_config_get(config, path, &text));
    EQUAL_TEXT(text, json);
    p2p_free(text);
}

TEST(config__is_all_defaults_from_null_and_from_nothing)
{
    p2p_handle a, b;
    char *first, *second;
    GOOD(p2p_config_new(NULL, &a));
    GOOD(p2p_config_new("", &b));
    GOOD(p2p_config_get(a, "", &first));
    GOOD(p2p_config_get(b, "", &second));
    EQUAL_TEXT(first, second);
    p2p_free(first);
    p2p_free(second);
    GOOD(p2p_close(a));
    GOOD(p2p_close(b));
}

TEST(config_defaults__contact_nobody)
{
    p2p_handle config;
    GOOD(p2p_config_new(NULL, &config));
    expect_option(config, "mdns.enabled", "false");
    expect_option(config, "bootstrap.peers", "[]");
    GOOD(p2p_close(config));
}

TEST(config_set__takes_json_bare_text_and_lines)
{
    p2p_handle config;
    GOOD(p2p_config_new("{\"pubsub\": {\"d\": 7}}", &config));
    expect_option(config, "pubsub.d", "7");
    GOOD(p2p_config_set(config, "pubsub.d", "8"));
    expect_option(config, "pubsub.d", "8");
    GOOD(p2p_config_set(config, "identify.agent", "my program/1.0"));
    expect_option(config, "identify.agent", "\"my program/1.0\"");
    GOOD(p2p_config_set(config, "identify.agent", "\"quoted\""));
    expect_option(config, "identify.agent", "\"quoted\"");
    GOOD(p2p_config_set(config, "listen", TCP "\n" QUIC));
    expect_option(config, "listen", "[\"" TCP "\",\"" QUIC "\"]");
    GOOD(p2p_config_set(config, "listen", "[]"));
    expect_option(config, "listen", "[]");
    GOOD(p2p_config_set(config, "mdns.enabled", "true"));
    expect_option(config, "mdns.enabled", "true");
    GOOD(p2p_close(config));
}

TEST(config_set__changes_nothing_on_an_error)
{
    p2p_handle config;
    char *before, *after;
    GOOD(p2p_config_new("{\"pubsub\": {\"d\": 7}}", &config));
    GOOD(p2p_config_get(config, "", &before));
    ERROR(p2p_config_set(config, "pubsub", "{\"d\": 9, \"d_low\": \"x\"}"), P2P_E_CONFIG);
    ERROR(p2p_config_set(config, "pubsub.d", "-1"), P2P_E_CONFIG);
    GOOD(p2p_config_get(config, "", &after));
    EQUAL_TEXT(after, before);
    p2p_free(before);
    p2p_free(after);
    GOOD(p2p_close(config));
}

TEST(config__document_reads_back_to_the_same)
{
    p2p_handle config, again;
    char *first, *second;
    GOOD(p2p_config_new("{\"limits\": {\"preset\": \"server\"}, \"listen\": []}", &config));
    GOOD(p2p_config_get(config, "", &first));
    GOOD(p2p_config_new(first, &again));
    GOOD(p2p_config_get(again, "", &second));
    EQUAL_TEXT(second, first);
    p2p_free(first);
    p2p_free(second);
    GOOD(p2p_close(config));
    GOOD(p2p_close(again));
}

TEST(config_secret__cannot_be_read_back)
{
    p2p_handle config;
    uint8_t *key;
    size_t len;
    char *text;
    static const uint8_t network[32] = "0123456789abcdef0123456789abcde";
    GOOD(p2p_key_new("ed25519", &key, &len));
    GOOD(p2p_config_new(NULL, &config));
    GOOD(p2p_config_set_secret(config, "identity.key", key, len));
    GOOD(p2p_config_set_secret(config, "private_network.key", network, sizeof network));
    GOOD(p2p_config_get(config, "", &text));
    CHECK(!strstr(text, "0123456789abcdef") && !strstr(text, "\"key\""));
    p2p_free(text);
    GOOD(p2p_info(config, &text));
    CHECK(!strstr(text, "0123456789abcdef"));
    p2p_free(text);
    p2p_free(key);
    GOOD(p2p_close(config));
}

TEST(config_schema__has_each_document)
{
    char *text;
    GOOD(p2p_config_schema(&text));
    CONTAINS(text, "https://json-schema.org/draft/2020-12/schema");
    CONTAINS(text, "max_message_size");
    CONTAINS(text, "overflow");
    CONTAINS(text, "max_concurrent");
    p2p_free(text);
}

TEST(key_new__each_type_has_a_peer_id_that_stays)
{
    const char *const types[] = {"ed25519", "secp256k1", "ecdsa", "rsa"};
    for (int i = 0; i < 4; i++) {
        uint8_t *key;
        size_t len;
        char *first, *second;
        GOOD(p2p_key_new(types[i], &key, &len));
        CHECK(len > 30);
        GOOD(p2p_key_peer_id(key, len, &first));
        GOOD(p2p_key_peer_id(key, len, &second));
        EQUAL_TEXT(first, second);
        CHECK(strncmp(first, i == 0 ? "12D3KooW" : i == 1 ? "16Uiu2HA" : "Qm", i < 2 ? 8 : 2) == 0);
        p2p_free(first);
        p2p_free(second);
        p2p_free(key);
    }
}

TEST(key__is_the_identity_of_the_node_that_gets_it)
{
    p2p_handle config, node;
    uint8_t *key;
    size_t len;
    char *peer, id[128];
    GOOD(p2p_key_new("ed25519", &key, &len));
    GOOD(p2p_key_peer_id(key, len, &peer));
    GOOD(p2p_config_new("{\"listen\": []}", &config));
    GOOD(p2p_config_set_secret(config, "identity.key", key, len));
    memset(key, 0, len); /* it was copied */
    GOOD(p2p_node_new(config, 0, 0, &node, NULL));
    copy_id(node, id);
    EQUAL_TEXT(id, peer);
    GOOD(p2p_close(node));
    GOOD(p2p_close(config));
    p2p_free(peer);
    p2p_free(key);
}

TEST(key_peer_id__does_not_repeat_the_key)
{
    char *peer = (char *)1;
    ERROR(p2p_key_peer_id((const uint8_t *)"top secret words", 16, &peer), P2P_E_PARSE);
    CHECK(peer == NULL);
    CHECK(!strstr(p2p_last_error(), "secret"));
    CHECK(!strstr(p2p_last_error(), "746f70")); /* nor in hex */
}

TEST(library__tells_its_version)
{
    char *text;
    EQUAL(p2p_abi(), P2P_ABI);
    EQUAL_TEXT(p2p_version(), P2P_VERSION);
    GOOD(p2p_build_info(&text));
    CONTAINS(text, P2P_VERSION);
    CONTAINS(text, "github.com/libp2p/go-libp2p");
    CONTAINS(text, "quic");
    p2p_free(text);
    p2p_free(NULL);
}

TEST(error_name__is_never_null)
{
    EQUAL_TEXT(p2p_error_name(P2P_E_DIAL), "P2P_E_DIAL");
    EQUAL_TEXT(p2p_error_name(P2P_E_LIMITED), "P2P_E_LIMITED");
    EQUAL_TEXT(p2p_error_name(0), "P2P_E_UNKNOWN");
    EQUAL_TEXT(p2p_error_name(-12345), "P2P_E_UNKNOWN");
}

static void *look_at_last_error(void *words_out)
{
    snprintf(words_out, 64, "[%s]", p2p_last_error());
    return NULL;
}

TEST(last_error__belongs_to_its_thread_and_success_keeps_it)
{
    pthread_t thread;
    char words[64], *text;
    p2p_handle config;
    ERROR(p2p_close(12345), P2P_E_HANDLE);
    CHECK(pthread_create(&thread, NULL, look_at_last_error, words) == 0);
    pthread_join(thread, NULL);
    EQUAL_TEXT(words, "[]");
    ERROR(p2p_config_new("{\"nonsense\": 1}", &config), P2P_E_CONFIG);
    GOOD(p2p_build_info(&text));
    p2p_free(text);
    CONTAINS(p2p_last_error(), "nonsense");
    EQUAL(p2p_last_detail(), 0);
}

TEST(runtime_info__counts)
{
    CHECK(runtime_number("goroutines") > 0);
    CHECK(runtime_number("heap_bytes") > 0);
    CHECK(runtime_number("threads") > 0);
    CHECK(runtime_number("file_descriptors") > 2);
    CHECK(runtime_number("file_descriptor_limit") > 2);
    EQUAL(runtime_number("panics"), 0);
}

TEST(runtime_tune__takes_values_and_defaults)
{
    GOOD(p2p_runtime_tune(1, 256 << 20));
    GOOD(p2p_runtime_tune(0, 0));
    GOOD(p2p_runtime_tune(-1, -1));
    ERROR(p2p_runtime_tune(-2, 0), P2P_E_INVALID);
    ERROR(p2p_runtime_tune(0, -2), P2P_E_INVALID);
}

TEST(log__arrives_as_events)
{
    p2p_handle queue = new_queue(), node;
    struct taken *t = malloc(sizeof *t);
    GOOD(p2p_log_queue(queue, 77));
    GOOD(p2p_log_level("*", "debug"));
    node = new_node(TCP, NULL);
    wait_event(queue, P2P_EVENT_LOG, t);
    EQUAL(t->event.tag, 77);
    CHECK(*line_of(t, 0) && *line_of(t, 1) && *line_of(t, 2));
    GOOD(p2p_log_level("*", "off"));
    GOOD(p2p_log_queue(0, 0));
    GOOD(p2p_close(node));
    GOOD(p2p_close(queue));
    ERROR(p2p_log_level("*", "loud"), P2P_E_INVALID);
    CONTAINS(p2p_last_error(), "loud");
    free(t);
}
