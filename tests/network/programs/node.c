/* A node of the hash table that does what its standard input says, one command a line, and answers each with a line: ok RESULT, or error WORDS. */
#include <libp2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static p2p_handle node, queue;

static void answer(int64_t code)
{
    if (code < 0) printf("error %s\n", p2p_last_error());
    else printf("ok %lld\n", (long long)code);
}

static void answer_text(int code, char *text)
{
    if (code < 0) printf("error %s\n", p2p_last_error());
    else printf("ok %.*s\n", (int)strcspn(text, "\n"), text);
    p2p_free(text);
}

static void connect_to(const char *address)
{
    char *id;
    const int code = p2p_peer_connect(node, address, &id, NULL);
    answer_text(code, id);
}

static void find_peer(const char *id)
{
    char *addresses;
    const int code = p2p_dht_find_peer(node, id, &addresses, NULL);
    answer_text(code, addresses);
}

static void get(const char *key)
{
    uint8_t *data;
    size_t len;
    const int code = p2p_dht_get(node, key, NULL, &data, &len, NULL);
    answer_text(code, (char *)data);
}

static void providers(const char *key)
{
    p2p_handle search;
    p2p_event event;
    uint8_t data[16384];
    char found[8192] = "";
    int n = p2p_dht_find_providers(node, key, NULL, queue, 0, &search);
    if (n < 0) {
        answer(n);
        return;
    }
    do {
        n = p2p_queue_poll(queue, &event, 1, data, sizeof data, -1);
        if (n == 1 && event.type == P2P_EVENT_DHT_PROVIDER) {
            char *text = (char *)data + event.text_offset;
            snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s ", (int)strcspn(text, "\n"), text);
        }
    } while (n >= 0 && event.type != P2P_EVENT_CLOSED);
    p2p_close(search);
    printf("ok %s\n", found);
}

static void obey(const char *command, const char *first, const char *second)
{
    if (strcmp(command, "bootstrap") == 0) answer(p2p_dht_bootstrap(node, atoi(first), NULL));
    else if (strcmp(command, "put") == 0) answer(p2p_dht_put(node, first, (const uint8_t *)second, strlen(second), NULL, NULL));
    else if (strcmp(command, "set") == 0) answer(p2p_dht_set(node, first, (const uint8_t *)second, strlen(second), NULL, NULL));
    else if (strcmp(command, "provide") == 0) answer(p2p_dht_provide(node, first, NULL));
    else if (strcmp(command, "get") == 0) get(first);
    else if (strcmp(command, "providers") == 0) providers(first);
    else if (strcmp(command, "peer") == 0) find_peer(first);
    else if (strcmp(command, "connect") == 0) connect_to(first);
    else printf("error %s\n", command);
}

int main(int argc, char **argv)
{
    char line[1024], command[32], first[512], second[512], *id, *address;
    p2p_handle config;
    if (argc != 3 || p2p_queue_new(0, &queue) < 0 || p2p_config_new(NULL, &config) < 0 ||
        p2p_config_set(config, "listen", "/ip4/127.0.0.1/tcp/0") < 0 || p2p_config_set(config, "identity.file", argv[1]) < 0 ||
        p2p_config_set(config, "dht.mode", "server") < 0 || p2p_config_set(config, "dht.validators", "app=accept") < 0 ||
        p2p_config_set(config, "dht.store", argv[2]) < 0 || p2p_node_new(config, 0, 0, &node, NULL) < 0 || p2p_node_id(node, &id) < 0 ||
        p2p_node_addresses(node, &address) < 0) {
        printf("error %s\n", p2p_last_error());
        return 1;
    }
    p2p_close(config);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ok %s %.*s\n", id, (int)strcspn(address, "\n"), address);
    p2p_free(id);
    p2p_free(address);
    while (fgets(line, sizeof line, stdin)) {
        first[0] = second[0] = 0;
        if (sscanf(line, "%31s %511s %511s", command, first, second) > 0) obey(command, first, second);
    }
    p2p_close(node);
    p2p_close(queue);
    return 0;
}
