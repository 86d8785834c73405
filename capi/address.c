/* Header section Addresses. */
#include "_cgo_export.h"

int p2p_address_info(const char *address, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(address);
    NEED(json_out);
    return go_address_info((char *)address, json_out);
}

int p2p_address_bytes(const char *address, uint8_t **data_out, size_t *len_out)
{
    CLEAR(data_out);
    CLEAR(len_out);
    ENTER();
    NEED(address);
    NEED(data_out);
    NEED(len_out);
    return go_address_bytes((char *)address, data_out, len_out);
}

int p2p_address_text(const uint8_t *data, size_t len, char **address_out)
{
    CLEAR(address_out);
    ENTER();
    NEED_BYTES(data, len);
    NEED(address_out);
    return go_address_text((uint8_t *)data, len, address_out);
}

int p2p_address_join(const char *addresses, char **address_out)
{
    CLEAR(address_out);
    ENTER();
    NEED(addresses);
    NEED(address_out);
    return go_address_join((char *)addresses, address_out);
}

int p2p_address_decapsulate(const char *address, const char *inner, char **address_out)
{
    CLEAR(address_out);
    ENTER();
    NEED(address);
    NEED(inner);
    NEED(address_out);
    return go_address_decapsulate((char *)address, (char *)inner, address_out);
}

int p2p_address_split(const char *address, char **addresses_out)
{
    CLEAR(addresses_out);
    ENTER();
    NEED(address);
    NEED(addresses_out);
    return go_address_split((char *)address, addresses_out);
}

int p2p_address_resolve(const char *address, const char *options, char **addresses_out, const p2p_call *call)
{
    struct front_wait wait;

    CLEAR(addresses_out);
    ENTER();
    NEED(address);
    WAIT(call, &wait);
    NEED_OUT(&wait, addresses_out);
    return go_address_resolve((char *)address, (char *)options, addresses_out, &wait);
}
