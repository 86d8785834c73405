/* Header section Keys: signed envelopes and peer records. */
#include "_cgo_export.h"

int p2p_envelope_seal(const uint8_t *key, size_t len, const char *domain, const uint8_t *payload_type, size_t payload_type_len,
                      const uint8_t *payload, size_t payload_len, uint8_t **envelope_out, size_t *len_out)
{
    CLEAR(envelope_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(domain);
    NEED_BYTES(payload_type, payload_type_len);
    NEED_BYTES(payload, payload_len);
    NEED(envelope_out);
    NEED(len_out);
    return go_envelope_seal((uint8_t *)key, len, (char *)domain, (uint8_t *)payload_type, payload_type_len, (uint8_t *)payload, payload_len, envelope_out, len_out);
}

int p2p_envelope_open(const uint8_t *envelope, size_t len, const char *domain, uint8_t **payload_out, size_t *len_out, char **json_out)
{
    CLEAR(payload_out);
    CLEAR(len_out);
    CLEAR(json_out);
    ENTER();
    NEED_BYTES(envelope, len);
    NEED(domain);
    NEED(payload_out);
    NEED(len_out);
    NEED(json_out);
    return go_envelope_open((uint8_t *)envelope, len, (char *)domain, payload_out, len_out, json_out);
}

int p2p_record_seal(const uint8_t *key, size_t len, const char *addresses, uint64_t sequence, uint8_t **record_out, size_t *len_out)
{
    CLEAR(record_out);
    CLEAR(len_out);
    ENTER();
    NEED_BYTES(key, len);
    NEED(addresses);
    NEED(record_out);
    NEED(len_out);
    return go_record_seal((uint8_t *)key, len, (char *)addresses, sequence, record_out, len_out);
}

int p2p_record_open(const uint8_t *record, size_t len, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED_BYTES(record, len);
    NEED(json_out);
    return go_record_open((uint8_t *)record, len, json_out);
}
