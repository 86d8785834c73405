/* Header section Identity. */
#include "_cgo_export.h"

int p2p_key_new(const char *type, uint8_t **key_out, size_t *len_out)
{
    CLEAR(key_out);
    CLEAR(len_out);
    ENTER();
    NEED(type);
    NEED(key_out);
    NEED(len_out);
    return go_key_new((char *)type, key_out, len_out);
}

int p2p_key_peer_id(const uint8_t *key, size_t len, char **peer_out)
{
    CLEAR(peer_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(peer_out);
    return go_key_peer_id((uint8_t *)key, len, peer_out);
}
