/* Every case of tests/cases in C: the call fails with the code, its words name the thing, nothing stays open. */
#include "support.h"

#include "cases.h" /* made by cases.py */

static p2p_handle node, dht, queue, topic;

/* Makes the call of a case and returns its result. */
static int call(const struct bad_input *c, p2p_handle config)
{
    const p2p_call patience = within(5000);
    char *text;
    uint8_t *block;
    size_t len;
    int64_t number;
    p2p_handle handle;
#define IS(name) (strcmp(c->call, name) == 0)
    if (IS("p2p_config_new")) return p2p_config_new(c->json, &handle);
    if (IS("p2p_config_set")) return p2p_config_set(config, c->path, c->value);
    if (IS("p2p_config_get")) return p2p_config_get(config, c->path, &text);
    if (IS("p2p_config_set_secret")) return p2p_config_set_secret(config, c->path, c->bytes, c->len);
    if (IS("p2p_key_new")) return p2p_key_new(c->type, &block, &len);
    if (IS("p2p_key_peer_id")) return p2p_key_peer_id(c->bytes, c->len, &text);
    if (IS("p2p_key_import")) return p2p_key_import(c->bytes, c->len, c->format, c->type, &block, &len);
    if (IS("p2p_key_export")) return p2p_key_export(c->bytes, c->len, c->format, &block, &len);
    if (IS("p2p_key_public")) return p2p_key_public(c->bytes, c->len, &block, &len);
    if (IS("p2p_key_sign")) return p2p_key_sign(c->bytes, c->len, NULL, 0, &block, &len);
    if (IS("p2p_pubkey_import")) return p2p_pubkey_import(c->bytes, c->len, c->format, c->type, &block, &len);
    if (IS("p2p_pubkey_export")) return p2p_pubkey_export(c->bytes, c->len, c->format, &block, &len);
    if (IS("p2p_pubkey_info")) return p2p_pubkey_info(c->bytes, c->len, &text);
    if (IS("p2p_pubkey_verify")) return p2p_pubkey_verify(c->bytes, c->len, NULL, 0, NULL, 0);
    if (IS("p2p_id_info")) return p2p_id_info(c->peer, &text);
    if (IS("p2p_id_bytes")) return p2p_id_bytes(c->peer, &block, &len);
    if (IS("p2p_id_text")) return p2p_id_text(c->bytes, c->len, &text);
    if (IS("p2p_id_public_key")) return p2p_id_public_key(c->peer, &block, &len);
    if (IS("p2p_envelope_seal")) return p2p_envelope_seal(c->bytes, c->len, c->domain, NULL, 0, NULL, 0, &block, &len);
    if (IS("p2p_envelope_open")) return p2p_envelope_open(c->bytes, c->len, c->domain, &block, &len, &text);
    if (IS("p2p_record_seal")) return p2p_record_seal(c->bytes, c->len, c->addresses, 0, &block, &len);
    if (IS("p2p_record_open")) return p2p_record_open(c->bytes, c->len, &text);
    if (IS("p2p_network_key_parse")) return p2p_network_key_parse(c->bytes, c->len, &block, &len);
    if (IS("p2p_network_key_text")) return p2p_network_key_text(c->bytes, c->len, &text);
    if (IS("p2p_network_key_fingerprint")) return p2p_network_key_fingerprint(c->bytes, c->len, &text);
    if (IS("p2p_address_info")) return p2p_address_info(c->address, &text);
    if (IS("p2p_address_bytes")) return p2p_address_bytes(c->address, &block, &len);
    if (IS("p2p_address_text")) return p2p_address_text(c->bytes, c->len, &text);
    if (IS("p2p_address_join")) return p2p_address_join(c->addresses, &text);
    if (IS("p2p_address_decapsulate")) return p2p_address_decapsulate(c->address, c->inner, &text);
    if (IS("p2p_address_split")) return p2p_address_split(c->address, &text);
    if (IS("p2p_address_resolve")) return p2p_address_resolve(c->address, c->options, &text, &patience);
    if (IS("p2p_cid_make")) return p2p_cid_make(c->bytes, c->len, c->options, &text);
    if (IS("p2p_cid_info")) return p2p_cid_info(c->cid, &text);
    if (IS("p2p_cid_text")) return p2p_cid_text(c->cid, c->options, &text);
    if (IS("p2p_cid_bytes")) return p2p_cid_bytes(c->cid, &block, &len);
    if (IS("p2p_cid_parse")) return p2p_cid_parse(c->bytes, c->len, &text);
    if (IS("p2p_cid_verify")) return p2p_cid_verify(c->cid, c->bytes, c->len);
    if (IS("p2p_peer_connect")) return p2p_peer_connect(node, c->addresses, &text, &patience);
    if (IS("p2p_peer_keep")) return p2p_peer_keep(node, c->addresses);
    if (IS("p2p_peer_disconnect")) return p2p_peer_disconnect(node, c->peer);
    if (IS("p2p_peer_info")) return p2p_peer_info(node, c->peer, &text);
    if (IS("p2p_peer_release")) return p2p_peer_release(node, c->peer);
    if (IS("p2p_log_fd")) return p2p_log_fd(1, c->options);
    if (IS("p2p_log_file")) return p2p_log_file(c->path, c->options);
    if (IS("p2p_peer_explain")) return p2p_peer_explain(node, c->addresses, c->options, &text, &patience);
    if (IS("p2p_metrics")) return p2p_metrics(node, c->format, &text);
    if (IS("p2p_metrics_serve")) return p2p_metrics_serve(node, c->address, c->options, &handle);
    if (IS("p2p_perf_serve")) return p2p_perf_serve(node, c->options, &handle);
    if (IS("p2p_perf_run")) return p2p_perf_run(node, c->peer, 0, 0, c->options, &text, &patience);
    if (IS("p2p_peer_ping")) return p2p_peer_ping(node, c->peer, &number, &patience);
    if (IS("p2p_stream_open")) return p2p_stream_open(node, c->peer, c->protocols, c->options, &handle, &patience);
    if (IS("p2p_stream_serve")) return p2p_stream_serve(node, c->protocols, c->options, queue, 0, &handle);
    if (IS("p2p_request_send")) return p2p_request_send(node, c->peer, c->protocol, NULL, 0, c->options, &block, &len, &patience);
    if (IS("p2p_request_open")) return p2p_request_open(node, c->peer, c->protocol, NULL, 0, c->options, &handle, &patience);
    if (IS("p2p_request_serve")) return p2p_request_serve(node, c->protocol, c->options, queue, 0, &handle);
    if (IS("p2p_topic_join")) return p2p_topic_join(node, c->name, c->options, queue, 0, &handle);
    if (IS("p2p_topic_subscribe")) return p2p_topic_subscribe(topic, c->options, queue, 0, &handle);
    if (IS("p2p_topic_publish_batch")) return p2p_topic_publish_batch(topic, c->bytes, c->len, 0, NULL, &patience);
    if (IS("p2p_topic_score_set")) return p2p_topic_score_set(topic, c->options);
    if (IS("p2p_pubsub_score_set")) return p2p_pubsub_score_set(node, c->peer, 0);
    if (IS("p2p_pubsub_block")) return p2p_pubsub_block(node, c->peer);
    if (IS("p2p_pubsub_unblock")) return p2p_pubsub_unblock(node, c->peer);
    if (IS("p2p_pubsub_direct_add")) return p2p_pubsub_direct_add(node, c->addresses);
    if (IS("p2p_pubsub_direct_remove")) return p2p_pubsub_direct_remove(node, c->peer);
    if (IS("p2p_pubsub_trace")) return p2p_pubsub_trace(node, c->options, queue, 0, &handle);
    if (IS("p2p_node_listen")) return p2p_node_listen(node, c->addresses, &text);
    if (IS("p2p_node_unlisten")) return p2p_node_unlisten(node, c->addresses);
    if (IS("p2p_node_announce")) return p2p_node_announce(node, c->options);
    if (IS("p2p_gate_block")) return p2p_gate_block(node, c->rules);
    if (IS("p2p_gate_allow")) return p2p_gate_allow(node, c->rules);
    if (IS("p2p_gate_remove")) return p2p_gate_remove(node, c->rules);
    if (IS("p2p_gate_default")) return p2p_gate_default(node, c->verdict);
    if (IS("p2p_gate_ask")) return p2p_gate_ask(node, c->options, queue, 0, &handle);
    if (IS("p2p_nat_wait")) return p2p_nat_wait(node, c->what, &text, &patience);
    if (IS("p2p_relay_reserve")) return p2p_relay_reserve(node, c->addresses, queue, 0, &handle, &text, &patience);
    if (IS("p2p_relay_allow")) return p2p_relay_allow(node, c->subjects);
    if (IS("p2p_relay_deny")) return p2p_relay_deny(node, c->subjects);
    if (IS("p2p_relay_forget")) return p2p_relay_forget(node, c->subjects);
    if (IS("p2p_discovery_join")) return p2p_discovery_join(node, c->name, c->options, queue, 0, &handle);
    if (IS("p2p_discovery_advertise")) return p2p_discovery_advertise(node, c->name, c->options, queue, 0, &handle);
    if (IS("p2p_discovery_find")) return p2p_discovery_find(node, c->name, c->options, queue, 0, &handle);
    if (IS("p2p_rendezvous_register")) return p2p_rendezvous_register(node, c->point, c->name, c->options, queue, 0, &handle, &patience);
    if (IS("p2p_rendezvous_unregister")) return p2p_rendezvous_unregister(node, c->point, c->name, &patience);
    if (IS("p2p_rendezvous_discover")) return p2p_rendezvous_discover(node, c->point, c->name, c->options, &text, &patience);
    if (IS("p2p_peer_tag")) return p2p_peer_tag(node, c->peer, c->name, 1);
    if (IS("p2p_peer_untag")) return p2p_peer_untag(node, c->peer, c->name);
    if (IS("p2p_peer_protect")) return p2p_peer_protect(node, c->peer, c->name);
    if (IS("p2p_peer_unprotect")) return p2p_peer_unprotect(node, c->peer, c->name);
    if (IS("p2p_dht_put")) return p2p_dht_put(dht, c->key, c->bytes, c->len, c->options, &patience);
    if (IS("p2p_dht_get")) return p2p_dht_get(dht, c->key, c->options, &block, &len, &patience);
    if (IS("p2p_dht_search")) return p2p_dht_search(dht, c->key, c->options, queue, 0, &handle);
    if (IS("p2p_dht_set")) return p2p_dht_set(dht, c->name, c->bytes, c->len, c->options, &patience);
    if (IS("p2p_dht_unset")) return p2p_dht_unset(dht, c->name, &patience);
    if (IS("p2p_dht_provide")) return p2p_dht_provide(dht, c->key, &patience);
    if (IS("p2p_dht_provide_start")) return p2p_dht_provide_start(dht, c->keys, &patience);
    if (IS("p2p_dht_find_providers")) return p2p_dht_find_providers(dht, c->key, c->options, queue, 0, &handle);
    if (IS("p2p_dht_find_peer")) return p2p_dht_find_peer(dht, c->peer, &text, &patience);
    if (IS("p2p_dht_closest_peers")) return p2p_dht_closest_peers(dht, c->key, &text, &patience);
    if (IS("p2p_dht_mode")) return p2p_dht_mode(dht, c->mode);
    if (IS("p2p_peer_add")) return p2p_peer_add(node, c->addresses, 0, &text);
    if (IS("p2p_peer_forget")) return p2p_peer_forget(node, c->peer);
    if (IS("p2p_peer_put")) return p2p_peer_put(node, c->peer, c->name, c->bytes, c->len);
    if (IS("p2p_peer_get")) return p2p_peer_get(node, c->peer, c->name, &block, &len);
    if (IS("p2p_peer_record")) return p2p_peer_record(node, c->peer, &block, &len);
    if (IS("p2p_peer_add_record")) return p2p_peer_add_record(node, c->bytes, c->len, 0, &text);
    if (IS("p2p_node_new")) {
        int result = p2p_config_new(c->json, &handle);
        if (result < 0) return result;
        result = p2p_node_new(handle, 0, 0, &node, &patience);
        GOOD(p2p_close(handle));
        return result;
    }
    FAIL("%s: no such call here: %s", c->title, c->call);
}

/* Reports every case that is wrong, not the first alone. */
static int wrong(const struct bad_input *c)
{
    p2p_handle config;
    GOOD(p2p_config_new(NULL, &config));
    const int64_t before = p2p_live_handles(0);
    const p2p_handle kept = node;
    const int result = call(c, config);
    const char *why = NULL, *words = p2p_last_error();
    char missing[256];
    node = kept;
    if (result != c->code) why = "code";
    for (int i = 0; i < 3 && c->words[i] && !why; i++)
        if (!strstr(words, c->words[i])) {
            snprintf(missing, sizeof missing, "not in the words: %s", c->words[i]);
            why = missing;
        }
    if (!why && !*words) why = "no words";
    if (!why && strchr(words, '\n')) why = "words of several lines";
    if (!why && p2p_live_handles(0) != before) why = "a handle stays";
    if (why) printf("# %s: %s (wanted %s; got %d %s: %s)\n", c->title, why, p2p_error_name(c->code), result, p2p_error_name(result), words);
    GOOD(p2p_close(config));
    return why != NULL;
}

TEST(cases__each_bad_input_gives_its_code_and_words)
{
    const size_t count = sizeof bad_inputs / sizeof *bad_inputs;
    size_t failed = 0;
    queue = new_queue();
    node = new_node(NULL, "\"keep\": {\"retry_min_ms\": 10}");
    dht = new_node(NULL, "\"dht\": {\"mode\": \"client\", \"validators\": [\"app=accept\", \"sha=hash\"]}");
    GOOD(p2p_topic_join(node, "cases-subscribe", NULL, queue, 0, &topic));
    for (size_t i = 0; i < count; i++) failed += (size_t)wrong(&bad_inputs[i]);
    GOOD(p2p_close(node));
    GOOD(p2p_close(dht));
    GOOD(p2p_close(queue));
    printf("# %zu cases\n", count);
    EQUAL(failed, 0);
}
