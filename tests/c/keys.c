/* Keys, what they sign, addresses and CIDs. The bytes are those of tests/vectors; bad input is in tests/cases. */
#include <netinet/in.h>

#include "support.h"

/* The ed25519 key of libp2p/specs, peer-ids, and what belongs to it. */
#define SPEC_PEER "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
#define SPEC_CID "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6"
#define SPEC_BASE64 "CAESQH4IMGF8Sn3oOSXfsmlFVrEpNsR3oOH+suFI7J2mD+59HtHo+uLEoUS4vo/UtHvz07NLhxw8rPYBDw5C1HT84n4="
static const uint8_t spec_key[] = {
    0x08, 0x01, 0x12, 0x40, 0x7e, 0x08, 0x30, 0x61, 0x7c, 0x4a, 0x7d, 0xe8, 0x39, 0x25, 0xdf, 0xb2, 0x69, 0x45, 0x56, 0xb1, 0x29, 0x36, 0xc4, 0x77,
    0xa0, 0xe1, 0xfe, 0xb2, 0xe1, 0x48, 0xec, 0x9d, 0xa6, 0x0f, 0xee, 0x7d, 0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4,
    0xb4, 0x7b, 0xf3, 0xd3, 0xb3, 0x4b, 0x87, 0x1c, 0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e,
};
static const uint8_t spec_public[] = {
    0x08, 0x01, 0x12, 0x20, 0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b, 0xf3, 0xd3, 0xb3, 0x4b, 0x87, 0x1c,
    0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e,
};
static const uint8_t spec_id[] = {
    0x00, 0x24, 0x08, 0x01, 0x12, 0x20, 0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b, 0xf3, 0xd3, 0xb3, 0x4b,
    0x87, 0x1c, 0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e,
};
static const uint8_t spec_signature[] = {
    0xb6, 0xb9, 0x10, 0xd6, 0xfc, 0x30, 0xa3, 0xab, 0x12, 0xec, 0x00, 0xdf, 0xf2, 0xec, 0xa4, 0x1c, 0x9c, 0xcb, 0x7a, 0x2f, 0x7e, 0x32, 0x4b, 0x39,
    0x9d, 0x40, 0x86, 0x69, 0x09, 0xae, 0xba, 0xce, 0x52, 0xc1, 0x31, 0x60, 0x65, 0xe2, 0x89, 0x60, 0x25, 0xee, 0xcb, 0xb0, 0xdb, 0x08, 0xbd, 0x0e,
    0x52, 0x0e, 0x59, 0xfd, 0x0c, 0x2b, 0x8f, 0x52, 0x3e, 0xea, 0xd2, 0xb3, 0x36, 0xc4, 0xbc, 0x02,
};
static const uint8_t sealed[] = {
    0x0a, 0x24, 0x08, 0x01, 0x12, 0x20, 0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b, 0xf3, 0xd3, 0xb3, 0x4b,
    0x87, 0x1c, 0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e, 0x12, 0x07, 0x2f, 0x74, 0x65, 0x73, 0x74, 0x2f, 0x31, 0x1a,
    0x0c, 0x77, 0x68, 0x61, 0x74, 0x20, 0x69, 0x73, 0x20, 0x73, 0x61, 0x69, 0x64, 0x2a, 0x40, 0x33, 0x08, 0xd0, 0xfa, 0xde, 0xfd, 0x4a, 0xcb, 0x05,
    0x01, 0xbe, 0xcd, 0x05, 0x2b, 0x3c, 0xbd, 0x71, 0x4d, 0x88, 0x45, 0xbb, 0x89, 0x2e, 0xec, 0x30, 0x95, 0x44, 0x67, 0x2c, 0x7d, 0x5d, 0xfb, 0xa2,
    0x3b, 0x5b, 0x38, 0x08, 0xff, 0x58, 0x52, 0x36, 0x50, 0x57, 0x99, 0x54, 0xd0, 0x8f, 0x55, 0x82, 0xcd, 0x2c, 0xc0, 0x18, 0x01, 0x62, 0x10, 0xc8,
    0x14, 0x42, 0x03, 0x53, 0x3a, 0x47, 0x01,
};
static const uint8_t record[] = {
    0x0a, 0x24, 0x08, 0x01, 0x12, 0x20, 0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b, 0xf3, 0xd3, 0xb3, 0x4b,
    0x87, 0x1c, 0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e, 0x12, 0x02, 0x03, 0x01, 0x1a, 0x59, 0x0a, 0x26, 0x00, 0x24,
    0x08, 0x01, 0x12, 0x20, 0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b, 0xf3, 0xd3, 0xb3, 0x4b, 0x87, 0x1c,
    0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e, 0x10, 0x95, 0x9a, 0x97, 0xec, 0xe3, 0x9f, 0xe7, 0xcb, 0x17, 0x1a, 0x0a,
    0x0a, 0x08, 0x04, 0xc0, 0x00, 0x02, 0x01, 0x06, 0x0f, 0xa1, 0x1a, 0x19, 0x0a, 0x17, 0x29, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x91, 0x02, 0x0f, 0xa1, 0xcd, 0x03, 0x2a, 0x40, 0x25, 0x89, 0x21, 0x6f, 0x22, 0xb0, 0x2a, 0xfb, 0x7c,
    0x85, 0x9e, 0x43, 0x33, 0x2a, 0x8f, 0x7c, 0xc2, 0x58, 0x3a, 0x6d, 0x68, 0xf6, 0x2b, 0xd2, 0x6d, 0xb1, 0xf3, 0x3a, 0x33, 0x49, 0x81, 0x12, 0xf8,
    0xeb, 0xed, 0x5d, 0xf2, 0x5d, 0x10, 0xb4, 0xed, 0x6f, 0x61, 0x88, 0x6c, 0x7d, 0xfa, 0xd7, 0xc4, 0x67, 0x71, 0x93, 0x83, 0x99, 0xf9, 0x88, 0x3c,
    0x49, 0x3c, 0x6a, 0x05, 0x18, 0x27, 0x00,
};
#define SPEC_PEM                                                                            \
    "-----BEGIN PRIVATE KEY-----\n"                                                         \
    "MC4CAQAwBQYDK2VwBCIEIH4IMGF8Sn3oOSXfsmlFVrEpNsR3oOH+suFI7J2mD+59\n"                                                                                \
    "-----END PRIVATE KEY-----\n"
#define HASH_PEER "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
#define HASH_CID "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe"
#define HELLO_CID "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
#define FOLDER_V0 "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
#define FOLDER_V1 "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

#define BYTES(text) ((const uint8_t *)(text)), strlen(text)
#define SPEC spec_key, sizeof spec_key

static void equal_bytes(const char *what, const uint8_t *got, size_t len, const uint8_t *wanted, size_t wanted_len)
{
    if (len != wanted_len || memcmp(got, wanted, len) != 0) FAIL("%s: %zu bytes are not the %zu wanted", what, len, wanted_len);
}

/* Takes what a call wrote as text, compares and frees it. */
#define WRITES(wanted, ...)                                                                 \
    do {                                                                                    \
        char *out = NULL;                                                                   \
        GOOD(__VA_ARGS__);                                                                  \
        EQUAL_TEXT(out, wanted);                                                            \
        p2p_free(out);                                                                      \
    } while (0)

#define WRITES_BYTES(wanted, ...)                                                           \
    do {                                                                                    \
        uint8_t *out = NULL;                                                                \
        size_t out_len = 0;                                                                 \
        GOOD(__VA_ARGS__);                                                                  \
        equal_bytes(#__VA_ARGS__, out, out_len, wanted, sizeof wanted);                     \
        p2p_free(out);                                                                      \
    } while (0)

TEST(key__is_read_in_every_format)
{
    WRITES_BYTES(spec_key, p2p_key_import(SPEC, NULL, NULL, &out, &out_len));
    WRITES_BYTES(spec_key, p2p_key_import(SPEC, "protobuf", "ed25519", &out, &out_len));
    WRITES_BYTES(spec_key, p2p_key_import(BYTES(SPEC_BASE64), NULL, NULL, &out, &out_len));
    WRITES_BYTES(spec_key, p2p_key_import(BYTES(SPEC_PEM), NULL, NULL, &out, &out_len));
    WRITES_BYTES(spec_key, p2p_key_import(spec_key + 4, 32, "raw", "ed25519", &out, &out_len));
    WRITES_BYTES(spec_public, p2p_key_public(SPEC, &out, &out_len));
    WRITES_BYTES(spec_public, p2p_pubkey_import(spec_public + 4, 32, "raw", "ed25519", &out, &out_len));
    WRITES(SPEC_PEER, p2p_key_peer_id(SPEC, &out));
}

TEST(key__is_written_in_every_format_and_read_again)
{
    static const char *const types[] = {"ed25519", "secp256k1", "ecdsa", "rsa"}, *const formats[] = {"protobuf", "base64", "pem", "raw"};
    for (int t = 0; t < 4; t++) {
        uint8_t *key, *public, *written, *again;
        size_t len, public_len, written_len, again_len;
        GOOD(p2p_key_new(types[t], &key, &len));
        GOOD(p2p_key_public(key, len, &public, &public_len));
        for (int f = 0; f < 4; f++) {
            GOOD(p2p_key_export(key, len, formats[f], &written, &written_len));
            GOOD(p2p_key_import(written, written_len, formats[f], types[t], &again, &again_len));
            equal_bytes(formats[f], again, again_len, key, len);
            p2p_free(written);
            p2p_free(again);
            GOOD(p2p_pubkey_export(public, public_len, formats[f], &written, &written_len));
            GOOD(p2p_pubkey_import(written, written_len, formats[f], types[t], &again, &again_len));
            equal_bytes(formats[f], again, again_len, public, public_len);
            p2p_free(written);
            p2p_free(again);
        }
        p2p_free(key);
        p2p_free(public);
    }
}

TEST(signature__holds_for_its_data_and_key_alone)
{
    const uint8_t *message = (const uint8_t *)"libp2pgo";
    WRITES_BYTES(spec_signature, p2p_key_sign(SPEC, message, 8, &out, &out_len)); /* ed25519 signs the same way every time */
    EQUAL(p2p_pubkey_verify(spec_public, sizeof spec_public, message, 8, spec_signature, sizeof spec_signature), 0);
    ERROR(p2p_pubkey_verify(spec_public, sizeof spec_public, message, 7, spec_signature, sizeof spec_signature), P2P_E_SECURITY);
    ERROR(p2p_pubkey_verify(spec_public, sizeof spec_public, message, 8, spec_signature, 63), P2P_E_SECURITY);
    ERROR(p2p_pubkey_verify(spec_public, sizeof spec_public, NULL, 0, NULL, 0), P2P_E_SECURITY);
    ERROR(p2p_pubkey_verify(message, 8, message, 8, spec_signature, sizeof spec_signature), P2P_E_PARSE);
}

TEST(peer_id__is_read_in_both_forms)
{
    WRITES("{\"peer\":\"" SPEC_PEER "\",\"cid\":\"" SPEC_CID "\",\"inline\":true,\"type\":\"ed25519\"}", p2p_id_info(SPEC_CID, &out));
    WRITES("{\"peer\":\"" HASH_PEER "\",\"cid\":\"" HASH_CID "\",\"inline\":false,\"type\":\"\"}", p2p_id_info(HASH_CID, &out));
    WRITES("{\"type\":\"ed25519\",\"peer\":\"" SPEC_PEER "\",\"cid\":\"" SPEC_CID "\",\"inline\":true}", p2p_pubkey_info(spec_public, sizeof spec_public, &out));
    WRITES_BYTES(spec_id, p2p_id_bytes(SPEC_CID, &out, &out_len));
    WRITES(SPEC_PEER, p2p_id_text(spec_id, sizeof spec_id, &out));
    WRITES_BYTES(spec_public, p2p_id_public_key(SPEC_PEER, &out, &out_len));
    uint8_t *none;
    size_t len;
    ERROR(p2p_id_public_key(HASH_PEER, &none, &len), P2P_E_NOT_FOUND);
    CHECK(none == NULL);
}

TEST(envelope__opens_for_its_domain_alone)
{
    uint8_t *payload, *envelope;
    size_t len, envelope_len;
    char *json;
    GOOD(p2p_envelope_open(sealed, sizeof sealed, "libp2pgo-test", &payload, &len, &json));
    equal_bytes("payload", payload, len, BYTES("what is said"));
    CONTAINS(json, "\"peer\":\"" SPEC_PEER "\"");
    CONTAINS(json, "\"payload_type\":\"2f746573742f31\"");
    p2p_free(payload);
    p2p_free(json);
    ERROR(p2p_envelope_open(sealed, sizeof sealed, "another", &payload, &len, &json), P2P_E_SECURITY);
    CHECK(payload == NULL && json == NULL && len == 0);
    GOOD(p2p_envelope_seal(SPEC, "d", BYTES("t"), NULL, 0, &envelope, &envelope_len));
    GOOD(p2p_envelope_open(envelope, envelope_len, "d", &payload, &len, &json));
    EQUAL(len, 0);
    p2p_free(payload);
    p2p_free(json);
    p2p_free(envelope);
    ERROR(p2p_envelope_seal(SPEC, "", BYTES("t"), NULL, 0, &envelope, &envelope_len), P2P_E_INVALID);
    ERROR(p2p_envelope_seal(SPEC, "d", NULL, 0, NULL, 0, &envelope, &envelope_len), P2P_E_INVALID);
}

TEST(record__tells_addresses_of_its_signer_alone)
{
    uint8_t *none, *key;
    size_t len, key_len;
    WRITES("{\"peer\":\"" SPEC_PEER "\",\"sequence\":\"1700000000123456789\",\"addresses\":[\"/ip4/192.0.2.1/tcp/4001\",\"/ip6/2001:db8::1/udp/4001/quic-v1\"]}",
           p2p_record_open(record, sizeof record, &out));
    WRITES_BYTES(record, p2p_record_seal(SPEC, "/ip4/192.0.2.1/tcp/4001\n/ip6/2001:db8::1/udp/4001/quic-v1/p2p/" SPEC_PEER, 1700000000123456789u, &out, &out_len));
    ERROR(p2p_record_seal(SPEC, NOWHERE, 0, &none, &len), P2P_E_INVALID);
    GOOD(p2p_key_new("ed25519", &key, &key_len));
    uint8_t *payload, *forged;
    size_t payload_len, forged_len;
    char *json;
    GOOD(p2p_envelope_open(record, sizeof record, "libp2p-peer-record", &payload, &payload_len, &json));
    GOOD(p2p_envelope_seal(key, key_len, "libp2p-peer-record", (const uint8_t *)"\x03\x01", 2, payload, payload_len, &forged, &forged_len));
    p2p_free(json);
    ERROR(p2p_record_open(forged, forged_len, &json), P2P_E_SECURITY);
    CONTAINS(p2p_last_error(), SPEC_PEER);
    p2p_free(payload);
    p2p_free(forged);
    p2p_free(key);
}

TEST(network_key__in_every_form_has_one_fingerprint)
{
    static const uint8_t raw[32] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    static const char text[] = "/key/swarm/psk/1.0.0/\n/base16/\n000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    char *made;
    WRITES(text, p2p_network_key_text(raw, sizeof raw, &out));
    WRITES_BYTES(raw, p2p_network_key_parse(BYTES(text), &out, &out_len));
    WRITES("41dfbf48d882a8ee665983adfa7a48f7", p2p_network_key_fingerprint(raw, sizeof raw, &out));
    WRITES("41dfbf48d882a8ee665983adfa7a48f7", p2p_network_key_fingerprint(BYTES(text), &out));
    GOOD(p2p_network_key_new(&made));
    p2p_handle config;
    GOOD(p2p_config_new(NULL, &config));
    GOOD(p2p_config_set_secret(config, "private_network.key", BYTES(made)));
    GOOD(p2p_close(config));
    p2p_free(made);
}

TEST(address__is_taken_apart_and_put_together)
{
    static const uint8_t binary[] = {4, 127, 0, 0, 1, 0x91, 2, 4, 0xd2};
    WRITES("{\"address\":\"/ip4/127.0.0.1/udp/1234\",\"components\":[{\"protocol\":\"ip4\",\"code\":4,\"value\":\"127.0.0.1\"},"
           "{\"protocol\":\"udp\",\"code\":273,\"value\":\"1234\"}],\"peer\":null,\"dns\":false,\"relayed\":false}",
           p2p_address_info("/ip4/127.0.0.1/udp/1234/", &out));
    WRITES_BYTES(binary, p2p_address_bytes("/ip4/127.0.0.1/udp/1234", &out, &out_len));
    WRITES("/ip4/127.0.0.1/udp/1234", p2p_address_text(binary, sizeof binary, &out));
    WRITES(NOWHERE "/p2p-circuit", p2p_address_join("/ip4/127.0.0.1/tcp/1\n/p2p/" NOBODY "\n/p2p-circuit", &out));
    WRITES("/ip4/127.0.0.1\n/tcp/1\n/p2p/" NOBODY, p2p_address_split(NOWHERE, &out));
    WRITES("/ip4/127.0.0.1/tcp/1", p2p_address_decapsulate(NOWHERE, "/p2p/" NOBODY, &out));
    WRITES("", p2p_address_decapsulate(NOWHERE, NOWHERE, &out));
}

TEST(cid__is_made_read_and_verified)
{
    static const uint8_t folder[] = {0x0a, 0x02, 0x08, 0x01};
    WRITES(HELLO_CID, p2p_cid_make(BYTES("hello world"), NULL, &out));
    WRITES(FOLDER_V0, p2p_cid_make(folder, sizeof folder, "{\"codec\": \"dag-pb\", \"version\": 0}", &out));
    WRITES(FOLDER_V1, p2p_cid_text(FOLDER_V0, "{\"version\": 1}", &out));
    WRITES(FOLDER_V0, p2p_cid_text(FOLDER_V1, "{\"version\": 0}", &out));
    char *json;
    GOOD(p2p_cid_info(FOLDER_V0, &json));
    CONTAINS(json, "\"version\":0,\"base\":\"base58btc\",\"codec\":\"dag-pb\"");
    CONTAINS(json, "\"v1\":\"" FOLDER_V1 "\"");
    p2p_free(json);
    uint8_t *bytes;
    size_t len;
    GOOD(p2p_cid_bytes(HELLO_CID, &bytes, &len));
    WRITES(HELLO_CID, p2p_cid_parse(bytes, len, &out));
    p2p_free(bytes);
    EQUAL(p2p_cid_verify(HELLO_CID, BYTES("hello world")), 0);
    EQUAL(p2p_cid_verify(FOLDER_V0, folder, sizeof folder), 0);
    ERROR(p2p_cid_verify(HELLO_CID, BYTES("hello there")), P2P_E_SECURITY);
}

/* A name server that never answers. */
static int silent_server(char options[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    snprintf(options, 64, "{\"server\": \"127.0.0.1:%d\"}", ntohs(address.sin_port));
    return fd;
}

TEST(address_resolve__finds_what_the_system_knows)
{
    WRITES("/ip4/127.0.0.1/tcp/1", p2p_address_resolve("/dns4/localhost/tcp/1", NULL, &out, NULL));
    WRITES(NOWHERE, p2p_address_resolve(NOWHERE, NULL, &out, NULL));
    p2p_handle queue = new_queue();
    p2p_call call = on(queue, 7);
    struct taken *done = malloc(sizeof *done);
    EQUAL(p2p_address_resolve("/dns4/localhost/tcp/1", NULL, NULL, &call), P2P_PENDING);
    next_event(queue, done);
    EQUAL(done->event.type, P2P_EVENT_DONE);
    EQUAL(done->event.tag, 7);
    EQUAL(done->event.status, 0);
    EQUAL_TEXT(done->text, "/ip4/127.0.0.1/tcp/1");
    free(done);
    GOOD(p2p_close(queue));
}

TEST(address_resolve__ends_by_time_cancel_and_close)
{
    char options[64], *text;
    const int fd = silent_server(options);
    p2p_handle queue = new_queue(), other = new_queue();
    struct taken *done = malloc(sizeof *done);
    p2p_call call = within(50);
    ERROR(p2p_address_resolve("/dns4/far.test/tcp/1", options, &text, &call), P2P_E_TIMEOUT);
    CHECK(text == NULL);
    call = on(queue, 8);
    call.timeout_ms = -1;
    EQUAL(p2p_address_resolve("/dns4/far.test/tcp/1", options, NULL, &call), P2P_PENDING);
    EQUAL(p2p_cancel(other, 8), 0); /* another queue may use the tag for something else */
    EQUAL(p2p_cancel(queue, 8), 1);
    next_event(queue, done);
    EQUAL(done->event.status, P2P_E_CANCELLED);
    EQUAL(p2p_cancel(queue, 8), 0);
    EQUAL(p2p_address_resolve("/dns4/far.test/tcp/1", options, NULL, &call), P2P_PENDING);
    GOOD(p2p_close(queue)); /* nobody can fetch it any more */
    ERROR(p2p_cancel(queue, 8), P2P_E_HANDLE);
    GOOD(p2p_close(other));
    close(fd);
    free(done);
}

/* Starting a node is found by its config, or by its queue if it has none. */
TEST(node_new__is_cancelled_under_its_first_argument)
{
    p2p_handle config, queue = new_queue();
    struct taken *done = malloc(sizeof *done);
    GOOD(p2p_config_new("{\"listen\": [], \"identity\": {\"type\": \"rsa\"}}", &config));
    for (int cancelled = 0, tries = 0; !cancelled; tries++) {
        p2p_call call = on(queue, 9);
        EQUAL(p2p_node_new(config, 0, 0, NULL, &call), P2P_PENDING);
        const int64_t n = GOOD(p2p_cancel(config, 9));
        next_event(queue, done);
        if (done->event.status == P2P_E_CANCELLED) {
            EQUAL(n, 1);
            cancelled = 1;
        } else { /* it was quicker */
            EQUAL(done->event.status, 0);
            GOOD(p2p_close(done->event.object));
            CHECK(tries < 100);
        }
    }
    GOOD(p2p_close(config));
    GOOD(p2p_close(queue));
    free(done);
}

TEST(completion__names_its_owner)
{
    p2p_handle queue = new_queue(), config;
    struct taken *done = malloc(sizeof *done);
    const p2p_call call = on(queue, 9);
    GOOD(p2p_config_new("{\"listen\": []}", &config));
    EQUAL(p2p_node_new(config, 0, 0, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 9, done);
    EQUAL(done->event.subject, config);
    GOOD(p2p_close(done->event.object));
    EQUAL(p2p_node_new(0, 0, 0, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 9, done);
    EQUAL(done->event.subject, queue);
    GOOD(p2p_close(done->event.object));
    EQUAL(p2p_address_resolve(NOWHERE, NULL, NULL, &call), P2P_PENDING);
    DONE_GOOD(queue, 9, done);
    EQUAL(done->event.subject, queue);
    GOOD(p2p_close(config));
    GOOD(p2p_close(queue));
    free(done);
}

#define IS_NULL(call, name)                                                                 \
    do {                                                                                    \
        ERROR(call, P2P_E_INVALID);                                                         \
        CONTAINS(p2p_last_error(), name);                                                   \
    } while (0)

TEST(null__is_refused_by_name)
{
    uint8_t *block;
    size_t len;
    char *text;
    IS_NULL(p2p_key_import(NULL, 1, NULL, NULL, &block, &len), "data");
    IS_NULL(p2p_key_import(SPEC, NULL, NULL, NULL, &len), "key_out");
    IS_NULL(p2p_key_import(SPEC, NULL, NULL, &block, NULL), "len_out");
    IS_NULL(p2p_key_export(SPEC, NULL, &block, &len), "format");
    IS_NULL(p2p_key_export(SPEC, "pem", NULL, &len), "data_out");
    IS_NULL(p2p_key_public(SPEC, NULL, &len), "public_out");
    IS_NULL(p2p_key_sign(SPEC, NULL, 1, &block, &len), "data");
    IS_NULL(p2p_key_sign(SPEC, NULL, 0, NULL, &len), "signature_out");
    IS_NULL(p2p_pubkey_import(NULL, 1, NULL, NULL, &block, &len), "data");
    IS_NULL(p2p_pubkey_export(SPEC, NULL, &block, &len), "format");
    IS_NULL(p2p_pubkey_info(SPEC, NULL), "json_out");
    IS_NULL(p2p_pubkey_verify(NULL, 1, NULL, 0, NULL, 0), "key");
    IS_NULL(p2p_pubkey_verify(SPEC, NULL, 0, NULL, 1), "signature");
    IS_NULL(p2p_id_info(NULL, &text), "peer");
    IS_NULL(p2p_id_bytes(NULL, &block, &len), "peer");
    IS_NULL(p2p_id_text(NULL, 1, &text), "id");
    IS_NULL(p2p_id_public_key(NULL, &block, &len), "peer");
    IS_NULL(p2p_envelope_seal(SPEC, NULL, NULL, 0, NULL, 0, &block, &len), "domain");
    IS_NULL(p2p_envelope_seal(SPEC, "d", NULL, 1, NULL, 0, &block, &len), "payload_type");
    IS_NULL(p2p_envelope_open(NULL, 0, NULL, &block, &len, &text), "domain");
    IS_NULL(p2p_envelope_open(NULL, 0, "d", &block, &len, NULL), "json_out");
    IS_NULL(p2p_record_seal(SPEC, NULL, 0, &block, &len), "addresses");
    IS_NULL(p2p_record_open(NULL, 1, &text), "record");
    IS_NULL(p2p_network_key_new(NULL), "text_out");
    IS_NULL(p2p_network_key_parse(NULL, 1, &block, &len), "data");
    IS_NULL(p2p_network_key_text(SPEC, NULL), "text_out");
    IS_NULL(p2p_network_key_fingerprint(SPEC, NULL), "fingerprint_out");
    IS_NULL(p2p_address_info(NULL, &text), "address");
    IS_NULL(p2p_address_bytes(NULL, &block, &len), "address");
    IS_NULL(p2p_address_text(NULL, 1, &text), "data");
    IS_NULL(p2p_address_join(NULL, &text), "addresses");
    IS_NULL(p2p_address_decapsulate(NOWHERE, NULL, &text), "inner");
    IS_NULL(p2p_address_split(NOWHERE, NULL), "addresses_out");
    IS_NULL(p2p_address_resolve(NULL, NULL, &text, NULL), "address");
    IS_NULL(p2p_address_resolve(NOWHERE, NULL, NULL, NULL), "addresses_out");
    IS_NULL(p2p_cid_make(NULL, 1, NULL, &text), "data");
    IS_NULL(p2p_cid_info(NULL, &text), "cid");
    IS_NULL(p2p_cid_text(NULL, NULL, &text), "cid");
    IS_NULL(p2p_cid_bytes(NULL, &block, &len), "cid");
    IS_NULL(p2p_cid_parse(NULL, 1, &text), "data");
    IS_NULL(p2p_cid_verify(NULL, NULL, 0), "cid");
    IS_NULL(p2p_cid_make(spec_key, (size_t)-1, NULL, &text), "data");
}

TEST(forked_child__is_refused)
{
    char *text;
    GOOD(p2p_network_key_new(&text)); /* the library is in use */
    p2p_free(text);
    int end;
    const pid_t child = fork();
    if (child == 0) _exit(p2p_id_info(SPEC_PEER, &text) == P2P_E_FORKED && p2p_address_resolve(NOWHERE, NULL, &text, NULL) == P2P_E_FORKED ? 0 : 1);
    CHECK(child > 0 && waitpid(child, &end, 0) == child);
    EQUAL(end, 0);
}

/* What a thread's end gives back may be given to somebody else at once. */
#define WORDS 8200
static pthread_key_t late;
static int late_intact;

static void call_late(void *unused)
{
    (void)unused;
    char *ours = malloc(WORDS), *text, all[WORDS];
    memset(ours, 'x', WORDS);
    memset(all, 'x', WORDS);
    late_intact = p2p_id_info(NULL, &text) == P2P_E_INVALID && strstr(p2p_last_error(), "peer") && memcmp(ours, all, WORDS) == 0;
    free(ours);
}

static void *fail_and_end(void *unused)
{
    (void)unused;
    char *text;
    ERROR(p2p_id_info(NULL, &text), P2P_E_INVALID);
    pthread_setspecific(late, &late);
    return NULL;
}

TEST(last_error__may_be_set_while_its_thread_ends)
{
    pthread_t thread;
    char *text;
    ERROR(p2p_id_info(NULL, &text), P2P_E_INVALID); /* the library's destructor comes before one that is made later */
    CHECK(pthread_key_create(&late, call_late) == 0);
    CHECK(pthread_create(&thread, NULL, fail_and_end, NULL) == 0);
    pthread_join(thread, NULL);
    pthread_key_delete(late);
    CHECK(late_intact);
}

static void *use(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++) {
        WRITES(SPEC_PEER, p2p_key_peer_id(SPEC, &out));
        WRITES(HELLO_CID, p2p_cid_make(BYTES("hello world"), NULL, &out));
        WRITES("/ip4/127.0.0.1\n/tcp/1\n/p2p/" NOBODY, p2p_address_split(NOWHERE, &out));
    }
    return NULL;
}

TEST(any_thread__may_call)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, use, NULL) == 0);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    EQUAL(p2p_live_handles(0), 0);
}
