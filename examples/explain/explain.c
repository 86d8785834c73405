/* Says why a peer can, or cannot, be reached: each of its addresses with outcome and time, and what can be done about it.
 *
 *   ./explain [-k swarm.key] [-p protocol] ADDRESS...     all addresses are of one peer and end in /p2p/<peer id>
 *
 * Exit code 0: something leads to it; 1: nothing does; 2: wrong use. */
#include <libp2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what)
{
    fprintf(stderr, "explain: %s: %s\n", what, p2p_last_error());
    return 2;
}

/* The lines of a list, joined into one text. */
static char *joined(char **lines, int count)
{
    size_t size = 1;
    for (int i = 0; i < count; i++) size += strlen(lines[i]) + 1;
    char *text = calloc(1, size);
    for (int i = 0; text && i < count; i++) {
        strcat(text, lines[i]);
        strcat(text, "\n");
    }
    return text;
}

int main(int argc, char **argv)
{
    const char *network = NULL, *protocol = "";
    char options[1024], *found, *addresses;
    int first = 1;
    p2p_handle config, node;

    for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
        if (strcmp(argv[first], "-k") == 0)
            network = argv[first + 1];
        else if (strcmp(argv[first], "-p") == 0)
            protocol = argv[first + 1];
        else
            break;
    }
    if (first >= argc || argv[first][0] == '-' || strpbrk(protocol, "\"\\")) {
        fprintf(stderr, "usage: explain [-k swarm.key] [-p protocol] ADDRESS...\n");
        return 2;
    }
    if (!(addresses = joined(argv + first, argc - first)))
        return 2;

    /* A node that only dials, in the peer's private network if there is one. */
    if (p2p_config_new("{\"listen\": []}", &config) < 0 || (network && p2p_config_set(config, "private_network.file", network) < 0))
        return failed("options");
    if (p2p_node_new(config, 0, 0, &node, NULL) < 0)
        return failed("node");
    p2p_close(config);

    /* As text it is for people; as JSON, the default, it has the same for programs. */
    snprintf(options, sizeof options, "{\"format\": \"text\", \"protocol\": \"%s\"}", protocol);
    const int code = p2p_peer_explain(node, addresses, options, &found, NULL);
    free(addresses);
    if (code < 0)
        return failed("explain");
    fputs(found, stdout);

    /* The verdict stands in brackets on the second line. */
    const char *good[] = {"[reachable]", "[relay_only]"};
    int reachable = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) reachable |= strstr(found, good[i]) != NULL;
    p2p_free(found);
    p2p_close(node);
    return reachable ? 0 : 1;
}
