/* Header section Keys. */
#include "_cgo_export.h"

int p2p_key_import(const uint8_t *data, size_t len, const char *format, const char *type, uint8_t **key_out, size_t *len_out)
{
    CLEAR(key_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(key_out);
    NEED(len_out);
    return go_key_import((uint8_t *)data, len, (char *)format, (char *)type, key_out, len_out);
}

int p2p_key_export(const uint8_t *key, size_t len, const char *format, uint8_t **data_out, size_t *len_out)
{
    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(format);
    NEED(data_out);
    NEED(len_out);
    return go_key_export((uint8_t *)key, len, (char *)format, data_out, len_out);
}

int p2p_key_public(const uint8_t *key, size_t len, uint8_t **public_out, size_t *len_out)
{
    CLEAR(public_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(public_out);
    NEED(len_out);
    return go_key_public((uint8_t *)key, len, public_out, len_out);
}

int p2p_key_sign(const uint8_t *key, size_t len, const uint8_t *data, size_t data_len, uint8_t **signature_out, size_t *len_out)
{
    CLEAR(signature_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED_BYTES(data, data_len);
    NEED(signature_out);
    NEED(len_out);
    return go_key_sign((uint8_t *)key, len, (uint8_t *)data, data_len, signature_out, len_out);
}

int p2p_pubkey_import(const uint8_t *data, size_t len, const char *format, const char *type, uint8_t **public_out, size_t *len_out)
{
    CLEAR(public_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(public_out);
    NEED(len_out);
    return go_pubkey_import((uint8_t *)data, len, (char *)format, (char *)type, public_out, len_out);
}

int p2p_pubkey_export(const uint8_t *key, size_t len, const char *format, uint8_t **data_out, size_t *len_out)
{
    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(format);
    NEED(data_out);
    NEED(len_out);
    return go_pubkey_export((uint8_t *)key, len, (char *)format, data_out, len_out);
}

int p2p_pubkey_info(const uint8_t *key, size_t len, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(json_out);
    return go_pubkey_info((uint8_t *)key, len, json_out);
}

int p2p_pubkey_verify(const uint8_t *key, size_t len, const uint8_t *data, size_t data_len, const uint8_t *signature, size_t signature_len)
{
    ENTER();
    NEED_BYTES(key, len);
    NEED_BYTES(data, data_len);
    NEED_BYTES(signature, signature_len);
    return go_pubkey_verify((uint8_t *)key, len, (uint8_t *)data, data_len, (uint8_t *)signature, signature_len);
}

int p2p_id_info(const char *peer, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(peer);
    NEED(json_out);
    return go_id_info((char *)peer, json_out);
}

int p2p_id_bytes(const char *peer, uint8_t **id_out, size_t *len_out)
{
    CLEAR(id_out);
    CLEAR(len_out);
    ENTER();
    NEED(peer);
    NEED(id_out);
    NEED(len_out);
    return go_id_bytes((char *)peer, id_out, len_out);
}

int p2p_id_text(const uint8_t *id, size_t len, char **peer_out)
{
    CLEAR(peer_out);
    ENTER();
    NEED_BYTES(id, len);
    NEED(peer_out);
    return go_id_text((uint8_t *)id, len, peer_out);
}

int p2p_id_public_key(const char *peer, uint8_t **public_out, size_t *len_out)
{
    CLEAR(public_out);
    CLEAR(len_out);
    ENTER();
    NEED(peer);
    NEED(public_out);
    NEED(len_out);
    return go_id_public_key((char *)peer, public_out, len_out);
}

int p2p_network_key_new(char **text_out)
{
    CLEAR(text_out);
    ENTER();
    NEED(text_out);
    return go_network_key_new(text_out);
}

int p2p_network_key_parse(const uint8_t *data, size_t len, uint8_t **key_out, size_t *len_out)
{
    CLEAR(key_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(key_out);
    NEED(len_out);
    return go_network_key_parse((uint8_t *)data, len, key_out, len_out);
}

int p2p_network_key_text(const uint8_t *data, size_t len, char **text_out)
{
    CLEAR(text_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(text_out);
    return go_network_key_text((uint8_t *)data, len, text_out);
}

int p2p_network_key_fingerprint(const uint8_t *data, size_t len, char **fingerprint_out)
{
    CLEAR(fingerprint_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(fingerprint_out);
    return go_network_key_fingerprint((uint8_t *)data, len, fingerprint_out);
}
