/* Header section Config. */
#include "_cgo_export.h"

int p2p_config_new(const char *json, p2p_handle *config_out)
{
    CLEAR(config_out);
    ENTER();
    NEED(config_out);
    return go_config_new((char *)json, config_out);
}

int p2p_config_set(p2p_handle config, const char *path, const char *value)
{
    ENTER();
    NEED(path);
    NEED(value);
    return go_config_set(config, (char *)path, (char *)value);
}

int p2p_config_set_secret(p2p_handle config, const char *path, const uint8_t *data, size_t len)
{
    ENTER();
    NEED(path);
    NEED_BYTES(data, len);
    return go_config_set_secret(config, (char *)path, (uint8_t *)data, len);
}

int p2p_config_get(p2p_handle config, const char *path, char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(path);
    NEED(json_out);
    return go_config_get(config, (char *)path, json_out);
}

int p2p_config_schema(char **json_out)
{
    CLEAR(json_out);
    ENTER();
    NEED(json_out);
    return go_config_schema(json_out);
}
