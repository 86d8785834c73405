/* Header section CIDs. */
#include "_cgo_export.h"

int p2p_cid_make(const uint8_t *data, size_t len, const char *options, char **cid_out)
{
    CLEAR(cid_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(cid_out);
    return go_cid_make((uint8_t *)data, len, (char *)options, cid_out);
}

int p2p_cid_info(const char *cid, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(cid);
    NEED(json_out);
    return go_cid_info((char *)cid, json_out);
}

int p2p_cid_text(const char *cid, const char *options, char **cid_out)
{
    CLEAR(cid_out);
    ENTER();
    NEED(cid);
    NEED(cid_out);
    return go_cid_text((char *)cid, (char *)options, cid_out);
}

int p2p_cid_bytes(const char *cid, uint8_t **data_out, size_t *len_out)
{
    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    NEED(cid);
    NEED(data_out);
    NEED(len_out);
    return go_cid_bytes((char *)cid, data_out, len_out);
}

int p2p_cid_parse(const uint8_t *data, size_t len, char **cid_out)
{
    CLEAR(cid_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(cid_out);
    return go_cid_parse((uint8_t *)data, len, cid_out);
}

int p2p_cid_verify(const char *cid, const uint8_t *data, size_t len)
{
    ENTER();
    NEED(cid);
    NEED_BYTES(data, len);
    return go_cid_verify((char *)cid, (uint8_t *)data, len);
}
