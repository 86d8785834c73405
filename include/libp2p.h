/* libp2p.h - a complete libp2p node in one shared library, by handles.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * CONVENTIONS. They hold for every function below; an entry states only what is its own.
 *
 * Results    Every function returns an int (an int64_t where it counts bytes): >= 0 is good, < 0 is one of the P2P_E_ codes. Exceptions:
 *            the texts of p2p_version, p2p_error_name and p2p_last_error, and p2p_free. p2p_last_error() tells in words what
 *            went wrong on this thread, naming the thing: the address, the option's path, the peer. Success does not clear it.
 *
 * Handles    A p2p_handle is a number below 2^53 that is never used twice. p2p_close ends any of them, from any thread, any number of
 *            times; closing a parent closes its children first (node > service, stream, topic > subscription). A handle that was closed
 *            or never was is P2P_E_HANDLE, one of another kind P2P_E_KIND, never a crash. 0 is no handle.
 *
 * Threads    Any function may be called on any thread at any time, also while another thread closes the same handle: calls that
 *            wait on it then end with P2P_E_CLOSED. One thread at a time may poll one queue.
 *
 * Waiting    A function that waits on the network ends in `const p2p_call *call`.
 *            NULL, or call->queue 0: it blocks, at most call->timeout_ms (0 or NULL: 30 s; -1: without limit), then P2P_E_TIMEOUT.
 *            With a queue: it returns P2P_PENDING at once, or an error, in which case no event follows. Inputs are copied; out-parameters
 *            are not used and may be NULL. The P2P_EVENT_DONE event with call->tag brings the same result, always, also after a timeout,
 *            p2p_cancel or p2p_close.
 *
 * Events     Completions, inbound streams and requests, messages, peer events and logs arrive as records of one size, p2p_event, on a
 *            queue that you own. A call that creates a source of events takes the queue (0: no events) and the tag its events carry, so that
 *            none comes too early. The library never calls you back.
 *
 * Memory     Inputs are borrowed until the call returns. Outputs go into your buffer, or come as one block that p2p_free ends
 *            (`char **x_out`, `uint8_t **x_out`); on an error they are set to NULL. Texts are UTF-8 and end in NUL, also inside events.
 *            Lists are texts of one item per line; structured answers are JSON; payloads are bytes, never base64.
 *
 * Options    A node and the richer calls take one JSON document, NULL for defaults. An unknown key, a wrong type, a value out of
 *            range and a conflict are P2P_E_CONFIG with the path of the option, and nothing is started. Times are milliseconds (_ms), sizes bytes.
 *
 * NULL       A NULL pointer where the entry does not allow one is P2P_E_INVALID, with the parameter's name. A pointer with length 0 may be NULL.
 *
 * Losing     Completions, streams, requests and stream data are never dropped. A source that may drop does so by the policy you chose, counts it
 *            (p2p_info) and announces it with P2P_EVENT_DROPPED where the gap is.
 *
 * SECTIONS. Library, Handles, Queue, Config; Identity, Keys, Addresses, CIDs; Node, Listening, Peers, Peerstore, Trimming, Gating, Limits;
 * Streams, Requests, Pubsub, Pubsub control; DHT, Discovery, NAT, Relay; Numbers, Diagnosis.
 *
 * THE PROCESS. Loading opens no socket, writes nothing and starts no node. It installs the Go runtime's handlers for SIGSEGV, SIGBUS, SIGFPE,
 * SIGPIPE and SIGURG and raises the soft RLIMIT_NOFILE to the hard one; the library's threads run with your signals blocked, so SIGINT,
 * signalfd and sigwait stay yours. fork without exec: in the child every call returns P2P_E_FORKED; load the library in the child, or use
 * spawn. dlclose does nothing. musl cannot load the library. Threads that call in need 64 KiB of stack.
 */
#ifndef LIBP2PGO_H
#define LIBP2PGO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef P2P_API
#define P2P_API
#endif

/* P2P_ABI is the number of this header's ABI. Within one number symbols, codes and options are only added. */
#define P2P_ABI 1

/* P2P_VERSION is the version this header belongs to; p2p_version tells the library's. */
#define P2P_VERSION "0.1.0"

typedef uint64_t p2p_handle;

/* p2p_call tells a waiting function how to wait; see Waiting above. Set size to sizeof(p2p_call). */
typedef struct p2p_call {
    uint32_t size;
    int32_t timeout_ms; /* 0: 30 s; -1: without limit */
    p2p_handle queue;   /* 0: block */
    uint64_t tag;       /* returned in the completion, and the name for p2p_cancel */
} p2p_call;

/* p2p_event is one record of a queue: 64 bytes, no pointers. Which fields a type uses stands at P2P_EVENT_ below; the others are 0.
 * Text and data lie in the poll's data block at their offsets; the text is followed by a NUL that text_length does not count. */
typedef struct p2p_event {
    int32_t type;   /* P2P_EVENT_ */
    int32_t status; /* >= 0, or a P2P_E_ code with its words as text */
    uint64_t tag;
    p2p_handle subject; /* whom it concerns: the owner of the call, the service, the stream, ... */
    uint64_t object;    /* a new handle, or a token for p2p_answer */
    int64_t value;
    uint32_t flags; /* P2P_FLAG_ */
    uint32_t text_offset;
    uint32_t text_length;
    uint32_t data_offset;
    uint32_t data_length;
    uint32_t reserved;
} p2p_event;

/* A call that completes later; no error. */
#define P2P_PENDING 1

/* Error codes. */
#define P2P_E_INVALID (-1)      /* an argument is not allowed here */
#define P2P_E_HANDLE (-2)       /* no such handle, or closed */
#define P2P_E_KIND (-3)         /* handle of another kind */
#define P2P_E_CONFIG (-4)       /* option unknown, mistyped, out of range, conflicting */
#define P2P_E_PARSE (-5)        /* malformed address, peer id or key */
#define P2P_E_CLOSED (-6)       /* closed while the call waited */
#define P2P_E_STATE (-7)        /* not possible in the present state */
#define P2P_E_EXISTS (-8)       /* already there */
#define P2P_E_BUSY (-9)         /* somebody else is doing this */
#define P2P_E_FORKED (-10)      /* forked child of a process using us */
#define P2P_E_TIMEOUT (-11)     /* time is up */
#define P2P_E_CANCELLED (-12)   /* ended by p2p_cancel, or by the remote */
#define P2P_E_AGAIN (-13)       /* nothing now; try later */
#define P2P_E_DIAL (-14)        /* no address answered; words list each */
#define P2P_E_NO_ADDRESS (-15)  /* no address known for the peer */
#define P2P_E_NOT_FOUND (-16)   /* nothing by that name */
#define P2P_E_REFUSED (-17)     /* turned away, by the peer or by this node's rules */
#define P2P_E_PROTOCOL (-18)    /* the peer speaks none of the protocols */
#define P2P_E_RESET (-19)       /* stream reset; p2p_last_detail has the code */
#define P2P_E_REMOTE (-20)      /* the remote handler answered with an error */
#define P2P_E_SECURITY (-21)    /* wrong peer id or signature, or handshake failed */
#define P2P_E_LISTEN (-22)      /* an address could not be bound */
#define P2P_E_LIMIT (-23)       /* a limit is reached; words name it */
#define P2P_E_REJECTED (-24)    /* refused by a validation rule */
#define P2P_E_TOO_BIG (-25)     /* larger than allowed, or than the buffer */
#define P2P_E_PERMISSION (-26)  /* file unreadable, or readable by others */
#define P2P_E_PEERS (-27)       /* fewer peers than asked for */
#define P2P_E_NOMEM (-28)       /* out of memory */
#define P2P_E_SYSTEM (-29)      /* the operating system refused; see words */
#define P2P_E_UNSUPPORTED (-30) /* not available in this build or here */
#define P2P_E_INTERNAL (-31)    /* a bug in the library; stack in log */
#define P2P_E_LIMITED (-32)     /* only a limited relayed connection exists */

/* Kinds of handles. */
#define P2P_KIND_QUEUE 1
#define P2P_KIND_CONFIG 2
#define P2P_KIND_NODE 3
#define P2P_KIND_SERVICE 4      /* p2p_stream_serve, p2p_request_serve, p2p_pubsub_trace, p2p_metrics_serve, p2p_perf_serve */
#define P2P_KIND_STREAM 5
#define P2P_KIND_EXCHANGE 6     /* p2p_request_open */
#define P2P_KIND_REQUEST 7      /* an inbound request */
#define P2P_KIND_TOPIC 8
#define P2P_KIND_SUBSCRIPTION 9
#define P2P_KIND_TOKEN 10       /* a verdict that p2p_answer gives */
#define P2P_KIND_SEARCH 11      /* a running query: p2p_dht_search, p2p_dht_find_providers, p2p_discovery_find */
#define P2P_KIND_DISCOVERY 12   /* p2p_rendezvous_register, p2p_discovery_advertise, p2p_discovery_join */
#define P2P_KIND_RESERVATION 13 /* p2p_relay_reserve */

/* Event types, with the fields they use beside type, tag and subject. Texts of several fields have one per line. */
#define P2P_EVENT_DONE 1                   /* a call ended: status, and what its entry says; on failure text and value as p2p_last_error, p2p_last_detail */
#define P2P_EVENT_POST 2                   /* p2p_queue_post: value, data */
#define P2P_EVENT_DROPPED 3                /* value events of subject were dropped here */
#define P2P_EVENT_CLOSED 4                 /* last event of subject: status and words why, 0 when you closed it */
#define P2P_EVENT_LOG 5                    /* value: slog level; text: level, time (RFC 3339), subsystem, message, then key=value lines */
#define P2P_EVENT_PEER_CONNECTED 10        /* first connection; text: peer, address; flags */
#define P2P_EVENT_PEER_DISCONNECTED 11     /* last connection gone; text: peer */
#define P2P_EVENT_PEER_PATH 12             /* best path changed between direct and relayed; text: peer, address; flags */
#define P2P_EVENT_PEER_FOUND 13            /* discovery met a peer; text: peer, source (mdns, bootstrap), then addresses */
#define P2P_EVENT_PEER_UNREACHABLE 14      /* a kept or bootstrap peer did not answer; status and words as p2p_peer_connect; object: ms until the next try */
#define P2P_EVENT_ADDRESSES 15             /* own addresses changed; text: all of them */
#define P2P_EVENT_LISTEN_FAILED 16         /* an address was not bound; text: address, reason */
#define P2P_EVENT_STREAM 20                /* inbound stream for a service; object: its handle; text: peer, protocol; flags */
#define P2P_EVENT_STREAM_DATA 21           /* watched stream: data; returns with p2p_stream_credit */
#define P2P_EVENT_STREAM_END 22            /* watched stream: the peer closed its side; nothing more to read */
#define P2P_EVENT_STREAM_RESET 23          /* watched stream: status (P2P_E_RESET, P2P_E_TOO_BIG, P2P_E_TIMEOUT, ...), value: reset code, words */
#define P2P_EVENT_REQUEST 30               /* object: request handle; text: peer, protocol; data; value: ms until its deadline, -1 none */
#define P2P_EVENT_REQUEST_CANCELLED 31     /* subject: a request handle whose asker gave up; only p2p_close is left to do */
#define P2P_EVENT_MESSAGE 40               /* text: author, from whom received, id (hex), topic; data; value: sequence number; flags */
#define P2P_EVENT_VALIDATE 41              /* as P2P_EVENT_MESSAGE, subject a topic; object: token that wants p2p_answer */
#define P2P_EVENT_TOPIC_JOINED 42          /* subject: topic; text: peer */
#define P2P_EVENT_TOPIC_LEFT 43            /* subject: topic; text: peer */
#define P2P_EVENT_PUBSUB_TRACE 44          /* subject: trace; text: what happened; data: JSON of it, docs/pubsub.md */
#define P2P_EVENT_PEER_GRAYLISTED 45       /* node: a peer's score fell below pubsub.score.graylist_threshold: it is not heard; text: peer; value: score */
#define P2P_EVENT_PEER_PARDONED 46         /* node: the score is above it again, or forgotten; text: peer; value: score */
#define P2P_EVENT_DHT_VALIDATE 50          /* a value for a namespace with the rule "ask"; subject: node; text: key; data; object: token that wants p2p_answer */
#define P2P_EVENT_DHT_VALUE 51             /* subject: search; text: key; data; value: sequence number of a signed record; status P2P_E_NOT_FOUND: withdrawn by its owner */
#define P2P_EVENT_DHT_PROVIDER 52          /* subject: search; text: peer, then addresses */
#define P2P_EVENT_DHT_MODE 53              /* the node began or ceased to answer for the DHT while it ran; text: "server" or "client", then the protocols it answers */
#define P2P_EVENT_DISCOVERY_FOUND 60       /* a peer of the topic; text: peer, source (dht, mdns, "rendezvous <peer>"), then addresses */
#define P2P_EVENT_DISCOVERY_ADVERTISED 61  /* text: a source that knows of this node now; value: ms until it is told again */
#define P2P_EVENT_DISCOVERY_FAILED 62      /* a source failed: status and words, "source: why"; object: ms until the next try, 0 none */
#define P2P_EVENT_DISCOVERY_CONNECTED 63   /* a peer of a joined topic is connected; text: peer, source ("peers": by its own word), address; flags */
#define P2P_EVENT_DISCOVERY_LEFT 64        /* it left the topic, or is gone; text: peer */
#define P2P_EVENT_DISCOVERY_UNREACHABLE 65 /* one that was found did not answer; status and words as p2p_peer_connect; object: ms until the next try, 0 none */
#define P2P_EVENT_REACHABILITY 70          /* text: "public", "private" or "unknown", how that is known ("option", "autonat", "autonat_v2", "none") */
#define P2P_EVENT_ADDRESS_REACHABILITY 71  /* the same for one public address, by AutoNAT v2; text: address, "public", "private" or "unknown" */
#define P2P_EVENT_NAT_TYPE 72              /* text: "udp" or "tcp", "endpoint_independent" (cone), "endpoint_dependent" (symmetric) or "unknown" */
#define P2P_EVENT_HOLE_PUNCH 73            /* an attempt ended; status; text: peer, side, outcome, words (see NAT below); value: attempt; object: its ms */
#define P2P_EVENT_RESERVATION 74           /* text: relay, "made" or "renewed", then relayed addresses; value: expiry, Unix ms. Or status, text: relay,
                                              "lost" or "failed" (to get it back), words; object: ms until the next attempt */
#define P2P_EVENT_PORT_MAPPING 75          /* the router forwards a port; text: own address, external address; without the latter: no more */
#define P2P_EVENT_GATE 80                  /* p2p_gate_ask; object: token that wants p2p_answer; text: peer, address, stage: "dial" (no address) or "connection"; flags */

/* Event flags. */
#define P2P_FLAG_INBOUND 1U  /* the peer opened the connection */
#define P2P_FLAG_RELAYED 2U  /* through a relay */
#define P2P_FLAG_LIMITED 4U  /* the relay limits time and bytes */
#define P2P_FLAG_SIGNED 8U   /* message: signature checked */
#define P2P_FLAG_LOCAL 16U   /* message: published by this node */

/* Verdicts for p2p_answer. */
#define P2P_VERDICT_ACCEPT 0
#define P2P_VERDICT_REJECT 1 /* refuse, and hold it against the sender */
#define P2P_VERDICT_IGNORE 2 /* refuse without blame */

/* ---- Library ------------------------------------------------------------------------------------------------------------------ */

/* p2p_abi returns the library's P2P_ABI. Compare it with the header's after loading; unequal numbers do not fit together. */
P2P_API int p2p_abi(void);

/* p2p_version returns the library's version, "major.minor.patch". Static; do not free. */
P2P_API const char *p2p_version(void);

/* p2p_build_info writes JSON: version, abi, go, modules (name to version) and transports. */
P2P_API int p2p_build_info(char **json_out);

/* p2p_error_name returns a code's name, "P2P_E_DIAL", or "P2P_E_UNKNOWN". Static; never NULL. */
P2P_API const char *p2p_error_name(int code);

/* p2p_last_error returns the words of this thread's last failed call, "" if none failed. Valid until the next failing call on this thread. */
P2P_API const char *p2p_last_error(void);

/* p2p_last_detail returns the number that belongs to this thread's last failed call: the peer's code with P2P_E_RESET, the handler's with
 * P2P_E_REMOTE, the size needed with P2P_E_TOO_BIG, the status of a rendezvous point's refusal, else 0. */
P2P_API int64_t p2p_last_detail(void);

/* p2p_free ends a block that an out-parameter brought. NULL is allowed. */
P2P_API void p2p_free(void *block);

/* p2p_log_level sets how much a subsystem ("dht", "swarm2", "pubsub", "p2pgo"; "*" for all, also later ones) logs: "debug", "info",
 * "warn", "error" or "off". All are off at load. Nothing is ever written to stdout or stderr. P2P_E_INVALID names an unknown level. */
P2P_API int p2p_log_level(const char *subsystem, const char *level);

/* p2p_log_queue sends log records to queue as P2P_EVENT_LOG with tag; queue 0 ends it. At most 4096 wait; beyond that the oldest are
 * dropped and announced. */
P2P_API int p2p_log_queue(p2p_handle queue, uint64_t tag);

/* p2p_log_fd writes log records to a descriptor, a line each, too; -1 ends that. It is duplicated, so you may close it, and stays as it is: what it does
 * not take at once is lost, counted (p2p_runtime_info) and told in the log. options: format ("text": time, level, subsystem, message, key=value;
 * "json": an object per line; default "text"). P2P_E_INVALID: not an open descriptor. */
P2P_API int p2p_log_fd(int fd, const char *options);

/* p2p_log_file writes log records to the end of a file, too, made with mode 0600 if it is not there; NULL ends that when all is written. options: format
 * as for p2p_log_fd, max_bytes (default 16 MiB, then it becomes path.1 and a new one is begun), keep (such older files, default 1). P2P_E_PERMISSION,
 * P2P_E_SYSTEM: it cannot be opened. */
P2P_API int p2p_log_file(const char *path, const char *options);

/* p2p_crash_file names a file to which the Go runtime also writes its last words should the process die of a bug in it; NULL ends it. */
P2P_API int p2p_crash_file(const char *path);

/* p2p_runtime_tune sets how many threads run Go code at a time and the soft limit of the Go heap in bytes; 0 leaves a value as it is,
 * -1 sets the default (all cores; no limit). The environment (GOMAXPROCS, GOMEMLIMIT) is only seen if set before the process started. */
P2P_API int p2p_runtime_tune(int32_t threads, int64_t heap_bytes);

/* p2p_runtime_info writes JSON: goroutines, heap_bytes, threads, file_descriptors, file_descriptor_limit, handles (kind to number),
 * panics (recovered), log_records and log_dropped (handed over, and lost because nobody took them in time). */
P2P_API int p2p_runtime_info(char **json_out);

/* p2p_live_handles returns the number of open handles of a P2P_KIND_, or of all with 0. */
P2P_API int64_t p2p_live_handles(int kind);

/* ---- Handles ------------------------------------------------------------------------------------------------------------------ */

/* p2p_close ends what a handle stands for, and its children. When it returns, a node has released its ports, threads of work and memory; a
 * stream is closed in both directions after what was accepted for writing is sent (at most 10 s, in the background), or left to its descriptor if it is
 * detached; a request without an answer is answered with an error; a topic is left; an advertisement and the membership of a joined topic are taken back
 * in the background (at most 20 s), for which the node's close waits about a second. Closing what is closed is 0. P2P_E_HANDLE: never was one.
 *
 * Over yamux a peer that goes on writing is not told that a stream is closed, and waits once its window is full: p2p_stream_reset stops it, but
 * does not send what waits. */
P2P_API int p2p_close(p2p_handle handle);

/* p2p_kind returns the P2P_KIND_ of an open handle. */
P2P_API int p2p_kind(p2p_handle handle);

/* p2p_parent writes the handle that closes this one when it closes, 0 if none does. */
P2P_API int p2p_parent(p2p_handle handle, p2p_handle *parent_out);

/* p2p_info writes what is known of an open handle as JSON; docs/info.md lists the keys of each kind. Costs no network. */
P2P_API int p2p_info(p2p_handle handle, char **json_out);

/* p2p_cancel ends all waiting calls on owner (the call's first argument; for one that takes no handle, or 0, its queue) that carry tag; they complete
 * with P2P_E_CANCELLED. Returns their number; 0 when none waits any more. */
P2P_API int p2p_cancel(p2p_handle owner, uint64_t tag);

/* p2p_answer gives the verdict (P2P_VERDICT_) that an event's token asks for. P2P_E_HANDLE: too late, the default took its place. */
P2P_API int p2p_answer(p2p_handle token, int verdict);

/* ---- Queue --------------------------------------------------------------------------------------------------------------------
 * A Queue is where everything arrives, in order. One per event loop or thread is enough. Polling it never waits for the rest of the library.
 * A slow reader holds back the sources that can wait; the others drop by their policy. Closing a queue wakes its poller with P2P_E_CLOSED,
 * gives the reader of its fd an end of file, and closes inbound streams and requests that nobody fetched. */

/* p2p_queue_new creates a queue that holds about max_bytes of events before it holds back its sources; 0: 64 MiB. Completions always fit. */
P2P_API int p2p_queue_new(size_t max_bytes, p2p_handle *queue_out);

/* p2p_queue_poll moves as many whole events as fit into events[max] and data[cap] and returns their number, 0 when timeout_ms (-1: no limit,
 * 0: do not wait) passed or p2p_queue_wake was called. P2P_E_TOO_BIG: the next event alone needs p2p_last_detail() bytes of data; it stays, and
 * nothing is lost. P2P_E_BUSY: another thread polls this queue. */
P2P_API int p2p_queue_poll(p2p_handle queue, p2p_event *events, int32_t max, uint8_t *data, size_t cap, int32_t timeout_ms);

/* p2p_queue_fd writes a descriptor that is readable while the queue has events or a wake, for select, poll, epoll, asyncio and libuv. Never write
 * to it; bytes you or your loop read from it are of no meaning. When readable, poll until you get 0. Each call makes one of its own,
 * close-on-exec, that you close. */
P2P_API int p2p_queue_fd(p2p_handle queue, int *fd_out);

/* p2p_queue_wake makes the present or next poll return at once, and the fd readable until then. Safe in a signal handler's place: from any thread. */
P2P_API int p2p_queue_wake(p2p_handle queue);

/* p2p_queue_post adds an event of your own, P2P_EVENT_POST, with tag, value and a copy of data. P2P_E_AGAIN: the queue holds max_bytes. */
P2P_API int p2p_queue_post(p2p_handle queue, uint64_t tag, int64_t value, const uint8_t *data, size_t len);

/* ---- Config -------------------------------------------------------------------------------------------------------------------
 * A Config is a node's options on the way to p2p_node_new. docs/config.md lists them all; p2p_config_schema gives the same list to programs. The
 * defaults contact nobody: no mDNS, no bootstrap peers, no port mapping. */

/* p2p_config_new creates a config from a JSON object; NULL or "": all defaults. P2P_E_CONFIG names the path at fault. */
P2P_API int p2p_config_new(const char *json, p2p_handle *config_out);

/* p2p_config_set sets the option at path ("pubsub.d") to value: JSON, or the bare text for a text option, or one item per line for a list of
 * texts. The config is unchanged on P2P_E_CONFIG. Conflicts between options are found by p2p_node_new. */
P2P_API int p2p_config_set(p2p_handle config, const char *path, const char *value);

/* p2p_config_set_secret sets a secret that JSON cannot carry: "identity.key" (a private key, as from p2p_key_new) or "private_network.key" (32
 * bytes, or the text of a swarm.key file). The bytes appear in no log, p2p_config_get or p2p_info. */
P2P_API int p2p_config_set_secret(p2p_handle config, const char *path, const uint8_t *data, size_t len);

/* p2p_config_get writes the option at path as JSON, defaults included; path "": the whole document. */
P2P_API int p2p_config_get(p2p_handle config, const char *path, char **json_out);

/* p2p_config_schema writes the JSON Schema (2020-12) of a node's options and of each richer call's, with types, ranges, defaults and a line each. */
P2P_API int p2p_config_schema(char **json_out);

/* ---- Identity -----------------------------------------------------------------------------------------------------------------
 * A node is known by its peer id, the hash of its public key ("12D3KooW..."). Private keys travel in libp2p's protobuf form
 * (libp2p/specs, peer-ids). Keep them in a file: the option identity.file creates it with mode 0600. Section Keys has more. */

/* p2p_key_new makes a private key of type "ed25519", "secp256k1", "ecdsa" or "rsa" (2048 bits) and writes its protobuf form. */
P2P_API int p2p_key_new(const char *type, uint8_t **key_out, size_t *len_out);

/* p2p_key_peer_id writes the peer id that belongs to a private key. P2P_E_PARSE: not a key; the bytes are not repeated in the words. */
P2P_API int p2p_key_peer_id(const uint8_t *key, size_t len, char **peer_out);

/* ---- Keys ---------------------------------------------------------------------------------------------------------------------
 * What can be done with keys and what they sign, without a node. Keys are handed around in libp2p's protobuf form; formats are those of other
 * programs: "protobuf" (a file of `ipfs key export`), "base64" (the same as text; Identity.PrivKey in Kubo's config), "pem" (PKCS #8, public keys
 * PKIX; read are also SEC 1 and PKCS #1) and "raw" (the bare bytes). docs/keys.md has them all. Words never repeat a private key. */

/* p2p_key_import reads a private key and writes its protobuf form. format NULL: any but raw. type NULL: any; raw needs it. P2P_E_PARSE: no key, or
 * of another type. P2P_E_UNSUPPORTED: encrypted. */
P2P_API int p2p_key_import(const uint8_t *data, size_t len, const char *format, const char *type, uint8_t **key_out, size_t *len_out);

/* p2p_key_export writes a private key in a format. */
P2P_API int p2p_key_export(const uint8_t *key, size_t len, const char *format, uint8_t **data_out, size_t *len_out);

/* p2p_key_public writes the public half of a private key, in its protobuf form. */
P2P_API int p2p_key_public(const uint8_t *key, size_t len, uint8_t **public_out, size_t *len_out);

/* p2p_key_sign signs data (at most 1 GiB) with a private key, as libp2p/specs, peer-ids says for its type. */
P2P_API int p2p_key_sign(const uint8_t *key, size_t len, const uint8_t *data, size_t data_len, uint8_t **signature_out, size_t *len_out);

/* p2p_pubkey_import reads a public key in one of the formats and writes its protobuf form; else as p2p_key_import. */
P2P_API int p2p_pubkey_import(const uint8_t *data, size_t len, const char *format, const char *type, uint8_t **public_out, size_t *len_out);

/* p2p_pubkey_export writes a public key in a format. */
P2P_API int p2p_pubkey_export(const uint8_t *key, size_t len, const char *format, uint8_t **data_out, size_t *len_out);

/* p2p_pubkey_info writes JSON of a public key: type, peer and cid (its peer id in both text forms), inline (the peer id holds the key itself). */
P2P_API int p2p_pubkey_info(const uint8_t *key, size_t len, char **json_out);

/* p2p_pubkey_verify returns 0 if signature is that of data by the holder of the public key. P2P_E_SECURITY: it is not. */
P2P_API int p2p_pubkey_verify(const uint8_t *key, size_t len, const uint8_t *data, size_t data_len, const uint8_t *signature, size_t signature_len);

/* p2p_id_info writes JSON of a peer id in either text form: peer (base58, as the library writes it), cid ("bafz..."), inline (it holds the public
 * key itself), type (of that key, else ""). */
P2P_API int p2p_id_info(const char *peer, char **json_out);

/* p2p_id_bytes writes the binary form of a peer id, a multihash. */
P2P_API int p2p_id_bytes(const char *peer, uint8_t **id_out, size_t *len_out);

/* p2p_id_text writes the text form, base58, of a binary peer id. */
P2P_API int p2p_id_text(const uint8_t *id, size_t len, char **peer_out);

/* p2p_id_public_key writes the public key that a peer id holds. P2P_E_NOT_FOUND: it holds only the hash of one, as those of rsa and ecdsa keys do. */
P2P_API int p2p_id_public_key(const char *peer, uint8_t **public_out, size_t *len_out);

/* p2p_envelope_seal signs payload for one purpose, domain, as one type of content, and writes a signed envelope (libp2p/specs, RFC 0002). Neither
 * domain nor payload_type may be empty. */
P2P_API int p2p_envelope_seal(const uint8_t *key, size_t len, const char *domain, const uint8_t *payload_type, size_t payload_type_len,
                              const uint8_t *payload, size_t payload_len, uint8_t **envelope_out, size_t *len_out);

/* p2p_envelope_open checks a signed envelope and writes its payload and JSON: peer (who signed), public_key and payload_type (hex). Check both
 * yourself. P2P_E_SECURITY: the signature is wrong, or was made for another domain. P2P_E_PARSE: no envelope. */
P2P_API int p2p_envelope_open(const uint8_t *envelope, size_t len, const char *domain, uint8_t **payload_out, size_t *len_out, char **json_out);

/* p2p_record_seal writes a signed peer record (libp2p/specs, RFC 0003): the addresses, one per line, of the key's holder. They may end in its own
 * /p2p/<peer id>. The record with the higher sequence number replaces others; 0: nanoseconds of Unix time. P2P_E_INVALID: address of another peer. */
P2P_API int p2p_record_seal(const uint8_t *key, size_t len, const char *addresses, uint64_t sequence, uint8_t **record_out, size_t *len_out);

/* p2p_record_open checks a signed peer record and writes JSON: peer, sequence (a text, for it exceeds 2^53), addresses. P2P_E_SECURITY: the signature
 * is wrong, or of another peer than the record speaks of. */
P2P_API int p2p_record_open(const uint8_t *record, size_t len, char **json_out);

/* p2p_network_key_new makes a key for a private network and writes the text of its swarm.key file: a secret that all its nodes hold. */
P2P_API int p2p_network_key_new(char **text_out);

/* p2p_network_key_parse reads a network key (text of a swarm.key file in base16, base64 or bin; 64 hex digits; 32 bytes) and writes its 32 bytes. */
P2P_API int p2p_network_key_parse(const uint8_t *data, size_t len, uint8_t **key_out, size_t *len_out);

/* p2p_network_key_text writes a network key, in any of its forms, as the text of a swarm.key file. */
P2P_API int p2p_network_key_text(const uint8_t *data, size_t len, char **text_out);

/* p2p_network_key_fingerprint writes 32 hex digits that are no secret: equal for equal keys, and the same as Kubo prints. */
P2P_API int p2p_network_key_fingerprint(const uint8_t *data, size_t len, char **fingerprint_out);

/* ---- Addresses ----------------------------------------------------------------------------------------------------------------
 * An address (multiaddr) is a path of components, the outermost first: /ip4/192.0.2.1/udp/4001/quic-v1/p2p/<peer id>. P2P_E_PARSE names the
 * malformed one. At most 8192 bytes. */

/* p2p_address_info checks an address and writes JSON: address (as the library writes it), components (each with protocol, code, value), peer (the one
 * at its end, null if none), dns (a name has to be resolved), relayed. */
P2P_API int p2p_address_info(const char *address, char **json_out);

/* p2p_address_bytes writes the binary form of an address. */
P2P_API int p2p_address_bytes(const char *address, uint8_t **data_out, size_t *len_out);

/* p2p_address_text writes the text form of a binary address. */
P2P_API int p2p_address_text(const uint8_t *data, size_t len, char **address_out);

/* p2p_address_join puts addresses, one per line, one behind the other: first the place, then what is reached there. */
P2P_API int p2p_address_join(const char *addresses, char **address_out);

/* p2p_address_decapsulate cuts address off where inner begins in it for the last time, in whole components, and writes what is left, perhaps "".
 * P2P_E_NOT_FOUND: inner is no part of it. */
P2P_API int p2p_address_decapsulate(const char *address, const char *inner, char **address_out);

/* p2p_address_split writes each component as an address of its own, one per line. */
P2P_API int p2p_address_split(const char *address, char **addresses_out);

/* p2p_address_resolve asks DNS until no name is left in address (/dns, /dns4, /dns6, /dnsaddr) and writes, or completes with as text, the addresses it
 * stands for. options: server (DNS server, IP:port; default the system's), max (addresses, default 100). Its owner, for p2p_cancel, is the queue.
 * P2P_E_NOT_FOUND: there is none. P2P_E_LIMIT: names lead to names without end. P2P_E_SYSTEM: no server answered. */
P2P_API int p2p_address_resolve(const char *address, const char *options, char **addresses_out, const p2p_call *call);

/* ---- CIDs ---------------------------------------------------------------------------------------------------------------------
 * A CID names bytes by their hash (multiformats/cid). Version 1 is text in any multibase, version 0 ("Qm...") is dag-pb with sha2-256. */

/* p2p_cid_make hashes data and writes its CID. options: codec (what the bytes are; default "raw", also "dag-pb", "dag-cbor", any multicodec), hash
 * ("sha2-256", "sha2-512", "sha3-256", "sha3-512", "blake2b-256", "blake2s-256", "blake3", "identity"), version (1), base ("base32"). */
P2P_API int p2p_cid_make(const uint8_t *data, size_t len, const char *options, char **cid_out);

/* p2p_cid_info writes JSON of a CID: version, base, codec, codec_code, hash, hash_code, digest (hex), v0 (null if it has none), v1 (base32). */
P2P_API int p2p_cid_info(const char *cid, char **json_out);

/* p2p_cid_text writes a CID again. options: version (default -1: as it is), base (default: base32, for version 0 base58btc). P2P_E_INVALID: it
 * cannot be of that version or in that base. */
P2P_API int p2p_cid_text(const char *cid, const char *options, char **cid_out);

/* p2p_cid_bytes writes the binary form of a CID. */
P2P_API int p2p_cid_bytes(const char *cid, uint8_t **data_out, size_t *len_out);

/* p2p_cid_parse reads the binary form of a CID and writes its text, base32 for version 1. */
P2P_API int p2p_cid_parse(const uint8_t *data, size_t len, char **cid_out);

/* p2p_cid_verify returns 0 if data are the bytes that cid names. P2P_E_SECURITY: they are not. P2P_E_UNSUPPORTED: its hash is unknown or proves
 * nothing. A CID names one block: a file of several is verified block by block. */
P2P_API int p2p_cid_verify(const char *cid, const uint8_t *data, size_t len);

/* ---- Node --------------------------------------------------------------------------------------------------------------------- */

/* p2p_node_new starts a node with the options of config (0: defaults; it may be closed afterwards) and writes, or completes with as object, its
 * handle. queue and tag: where its peer, address and discovery events go; at most events.capacity of them wait, then the oldest are dropped.
 * P2P_E_CONFIG: options in conflict, or an address among them is malformed. P2P_E_LISTEN: an address is taken or cannot be bound.
 * P2P_E_PERMISSION, P2P_E_PARSE, P2P_E_SYSTEM: the key file is open to others, holds no key, cannot be made. */
P2P_API int p2p_node_new(p2p_handle config, p2p_handle queue, uint64_t tag, p2p_handle *node_out, const p2p_call *call);

/* p2p_node_close is p2p_close for a node, with a choice of waiting: in queue mode it returns at once and completes when all is released, for
 * programs that must not hold up their event loop. From the call on the node does nothing more: calls on it, and those that wait, fail with
 * P2P_E_CLOSED, or P2P_E_HANDLE once it has ended. */
P2P_API int p2p_node_close(p2p_handle node, const p2p_call *call);

/* p2p_node_id writes the node's peer id. */
P2P_API int p2p_node_id(p2p_handle node, char **peer_out);

/* p2p_node_addresses writes the addresses at which the node can be dialled, one per line, each ending in /p2p/<peer id>. */
P2P_API int p2p_node_addresses(p2p_handle node, char **addresses_out);

/* ---- Listening ----------------------------------------------------------------------------------------------------------------
 * Where a running node listens, and which addresses it tells its peers. P2P_EVENT_ADDRESSES follows every change; connected peers hear of it
 * within seconds. */

/* p2p_node_listen binds more addresses, one per line, all or none, and writes (bound_out may be NULL) them as they are bound, with the ports
 * that the system chose. P2P_E_LISTEN: names the one that is taken or cannot be bound. P2P_E_STATE: its transport is off. P2P_E_INVALID: no
 * transport listens at such an address. */
P2P_API int p2p_node_listen(p2p_handle node, const char *addresses, char **bound_out);

/* p2p_node_unlisten ends listening at addresses, one per line, named as in p2p_info's "listening", all or none. Connections stay. A TCP port is free
 * on return; a UDP port can stay bound for dialling for some seconds. P2P_E_NOT_FOUND: the node does not listen at one of them. */
P2P_API int p2p_node_unlisten(p2p_handle node, const char *addresses);

/* p2p_node_announce changes which addresses peers are told. options: announce, append, hide, as in the config's section addresses; a list that is
 * given replaces the present one, the others stay. P2P_E_CONFIG names the address at fault, and nothing changes. */
P2P_API int p2p_node_announce(p2p_handle node, const char *options);

/* ---- Peers --------------------------------------------------------------------------------------------------------------------
 * A peer is named by its peer id in either text form, an address (multiaddr) ends in /p2p/<peer id>. */

/* p2p_peer_connect connects to a peer, or finds it connected, and writes (peer_out may be NULL), or completes with as text, its peer id. addresses: one per line, all
 * of one peer, or the peer id alone when its addresses are known. P2P_E_DIAL, P2P_E_TIMEOUT: the words list each address and why it failed.
 * P2P_E_SECURITY: somebody else answered. P2P_E_NO_ADDRESS: none known. P2P_E_PARSE: names the malformed one. */
P2P_API int p2p_peer_connect(p2p_handle node, const char *addresses, char **peer_out, const p2p_call *call);

/* p2p_peer_disconnect closes all connections to peer and their streams. 0 also when there were none. */
P2P_API int p2p_peer_disconnect(p2p_handle node, const char *peer);

/* p2p_peer_list writes the peer ids of all connected peers. */
P2P_API int p2p_peer_list(p2p_handle node, char **peers_out);

/* p2p_peer_info writes JSON of a peer: id, connected, addresses (known), protocols, agent, rtt_ms, kept, tags, tag_value, protected, connections: each
 * with id, address, direction, transport, security, muxer, relayed, limited, opened_ms (Unix), streams. peer NULL: an array of all connected peers. */
P2P_API int p2p_peer_info(p2p_handle node, const char *peer, char **json_out);

/* p2p_peer_ping writes, or completes with as value, the round-trip time to peer in nanoseconds, dialling first if needed (libp2p/specs, ping). */
P2P_API int p2p_peer_ping(p2p_handle node, const char *peer, int64_t *rtt_out, const p2p_call *call);

/* p2p_peer_keep connects to a peer and connects again whenever it is lost, with growing pauses (1 s to 60 s), until p2p_peer_release. addresses
 * as for p2p_peer_connect; they replace those given before. The connection is protected from trimming. */
P2P_API int p2p_peer_keep(p2p_handle node, const char *addresses);

/* p2p_peer_release ends p2p_peer_keep; the connection stays, and a bootstrap or direct peer is kept as such. P2P_E_NOT_FOUND: p2p_peer_keep was not
 * called for it. */
P2P_API int p2p_peer_release(p2p_handle node, const char *peer);

/* ---- Peerstore ----------------------------------------------------------------------------------------------------------------
 * What the node knows of peers, connected or not: addresses, signed records, and data of yours. In memory, or with the config's
 * peerstore.directory on disk and over restarts; a private key is never written there. */

/* p2p_peer_add adds addresses of one peer, one per line, each ending in /p2p/<peer id>, to those that are known, and writes (peer_out may be NULL) its
 * peer id. Nothing is dialled. ttl_ms: how long they are kept; 0: an hour; -1: without end. */
P2P_API int p2p_peer_add(p2p_handle node, const char *addresses, int64_t ttl_ms, char **peer_out);

/* p2p_peer_forget removes all that is known of peer: addresses, record, tags and data. P2P_E_STATE: it is connected, or kept. */
P2P_API int p2p_peer_forget(p2p_handle node, const char *peer);

/* p2p_peer_known writes the peer ids of all peers with a known address. */
P2P_API int p2p_peer_known(p2p_handle node, char **peers_out);

/* p2p_peer_put keeps data of yours, at most 64 KiB, about peer under a name (1 to 128 bytes); len 0 removes it. */
P2P_API int p2p_peer_put(p2p_handle node, const char *peer, const char *name, const uint8_t *data, size_t len);

/* p2p_peer_get writes what p2p_peer_put keeps. P2P_E_NOT_FOUND: nothing under this name. */
P2P_API int p2p_peer_get(p2p_handle node, const char *peer, const char *name, uint8_t **data_out, size_t *len_out);

/* p2p_peer_record writes the signed record of peer, which vouches for its addresses, as p2p_record_open reads it; peer NULL: the node's own.
 * P2P_E_NOT_FOUND: the peer has sent none. */
P2P_API int p2p_peer_record(p2p_handle node, const char *peer, uint8_t **record_out, size_t *len_out);

/* p2p_peer_add_record takes a signed record, checks its signature, keeps its addresses for ttl_ms, as p2p_peer_add does, and writes (peer_out may be NULL)
 * whose it is. Returns 1; 0 if a newer one is known. P2P_E_SECURITY: not signed by that peer. P2P_E_PARSE: no record. */
P2P_API int p2p_peer_add_record(p2p_handle node, const uint8_t *record, size_t len, int64_t ttl_ms, char **peer_out);

/* ---- Trimming -----------------------------------------------------------------------------------------------------------------
 * When there are more connections than the config's connections.high, the least useful are closed until connections.low are left. Peers are worth
 * the sum of their tags, yours and those of the library's parts; protected ones are spared. p2p_peer_info tells both. */

/* p2p_peer_tag gives peer a value under a name of yours (1 to 128 bytes), in place of the one it had; it may be negative. It outlasts the peer's
 * connections, not the node. */
P2P_API int p2p_peer_tag(p2p_handle node, const char *peer, const char *name, int32_t value);

/* p2p_peer_untag takes a tag back. P2P_E_NOT_FOUND: the peer has none of that name. */
P2P_API int p2p_peer_untag(p2p_handle node, const char *peer, const char *name);

/* p2p_peer_protect spares peer from trimming, until p2p_peer_unprotect with the same name. */
P2P_API int p2p_peer_protect(p2p_handle node, const char *peer, const char *name);

/* p2p_peer_unprotect ends one protection and returns 1 if peer is still protected under another name, else 0. P2P_E_NOT_FOUND: not protected under this
 * one. */
P2P_API int p2p_peer_unprotect(p2p_handle node, const char *peer, const char *name);

/* p2p_peer_trim closes connections now, the least useful first, until left of them (-1: connections.low) are there, and returns, or completes with as value,
 * how many it closed. Protected peers and those younger than connections.grace_ms are spared. */
P2P_API int p2p_peer_trim(p2p_handle node, int32_t left, const p2p_call *call);

/* p2p_node_watermarks changes connections.low, .high and .grace_ms; -1 leaves one as it is. P2P_E_INVALID: low is more than high. */
P2P_API int p2p_node_watermarks(p2p_handle node, int32_t low, int32_t high, int32_t grace_ms);

/* ---- Gating -------------------------------------------------------------------------------------------------------------------
 * Who may be dialled, and who may connect. A rule is a peer id, an IP address or a subnet ("10.0.0.0/8", "2001:db8::/32"). The most exact one holds:
 * that of the peer, then that of the longest prefix of its address; where there is none, the default. Rules last as long as the node; those
 * to begin with stand in the config's section gating. A dial that is refused ends with P2P_E_REFUSED and names the rule. */

/* p2p_gate_block refuses whom the rules, one per line, name, and closes their connections. A rule takes the place of one that allows the same. All are
 * taken, or none: P2P_E_PARSE names the malformed one. */
P2P_API int p2p_gate_block(p2p_handle node, const char *rules);

/* p2p_gate_allow lets those through whom the rules, one per line, name; else as p2p_gate_block. While a peer is allowed by name, blocked addresses get as
 * far as the handshake, for it might be that peer. */
P2P_API int p2p_gate_allow(p2p_handle node, const char *rules);

/* p2p_gate_remove takes rules out, one per line, whether they block or allow, all or none. P2P_E_NOT_FOUND: there is none for one of them. */
P2P_API int p2p_gate_remove(p2p_handle node, const char *rules);

/* p2p_gate_default sets what becomes of those that no rule names: "allow" or "block". Present connections stay. */
P2P_API int p2p_gate_default(p2p_handle node, const char *verdict);

/* p2p_gate_list writes JSON: default, block and allow (lists of objects: rule, refused), asking, dials_refused, connections_refused. */
P2P_API int p2p_gate_list(p2p_handle node, char **json_out);

/* p2p_gate_ask asks you, by P2P_EVENT_GATE, about every dial and every inbound connection that no rule names, until the service is closed. P2P_VERDICT_ACCEPT
 * lets it through, the others refuse it; a dial waits for you before it begins, a connection before anybody sees it. options: timeout_ms
 * (time for a verdict, at most 10000; default 1000), default ("block", "allow": the verdict when you are late; default "block"), capacity (verdicts
 * pending, default 256; beyond it the default holds). P2P_E_EXISTS: somebody is asked already. */
P2P_API int p2p_gate_ask(p2p_handle node, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *service_out);

/* ---- Limits -------------------------------------------------------------------------------------------------------------------
 * What peers can make the node spend is bounded by the config's section limits: a preset, single numbers, and limits.exact, go-libp2p's own form. */

/* p2p_limits_info writes JSON: preset, usage (by scope: system, transient, services, protocols, peers), limits (in the form of limits.exact), per_ip,
 * refused and watermarks; docs/info.md has the keys. */
P2P_API int p2p_limits_info(p2p_handle node, char **json_out);

/* ---- Streams ------------------------------------------------------------------------------------------------------------------
 * A Stream is an ordered, reliable pair of byte flows with one peer under one protocol name. Read it in calls, or have it watched: then its data
 * arrives on a queue. Write in calls; in queue mode a write of up to the stream's high-water mark (write_buffer, 1 MiB) is accepted at once. Each
 * side closes its own flow (end of file for the other) or resets both with a code. A node's stream needs one reader and one writer at a time;
 * a second concurrent one waits for the first. Maximum length of one write or message: 1 GiB. */

/* p2p_stream_serve accepts streams for protocols, one name per line; a name ending in * serves all names with that prefix that are text of up to
 * 512 bytes without control characters, except those that another name fits better. Each arrives as P2P_EVENT_STREAM; close the service to stop serving
 * (its open streams stay). options: max_streams (open at a time, then the peer's stream is reset with code 0x1002; 0: unlimited; default 1024).
 * P2P_E_EXISTS: a name is served already, by you or by the node itself. */
P2P_API int p2p_stream_serve(p2p_handle node, const char *protocols, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *service_out);

/* p2p_stream_open opens a stream to peer, dialling first if needed, and writes, or completes with as object, its handle, as text the protocol.
 * protocols: one per line, in order of preference. options: no_dial (true: only over a present connection), allow_limited (true: also over a
 * limited relayed one). P2P_E_DIAL, P2P_E_NO_ADDRESS as for p2p_peer_connect. P2P_E_PROTOCOL: the peer speaks none of them. What it last said is
 * believed, which saves a round trip; has it stopped serving since, the first read says so. P2P_E_LIMIT: too many streams. P2P_E_LIMITED:
 * only a limited connection exists. */
P2P_API int p2p_stream_open(p2p_handle node, const char *peer, const char *protocols, const char *options, p2p_handle *stream_out,
                            const p2p_call *call);

/* p2p_stream_read reads at least one and at most cap bytes into data and returns their number; 0: the peer closed its side. In queue mode data is
 * NULL and the bytes come with the completion. P2P_E_RESET: the stream is dead. P2P_E_TIMEOUT loses nothing. P2P_E_STATE: it is watched. */
P2P_API int64_t p2p_stream_read(p2p_handle stream, uint8_t *data, size_t cap, const p2p_call *call);

/* p2p_stream_write sends len bytes and returns len. In queue mode it returns 0 when they are accepted at once (no completion follows), or
 * P2P_PENDING: accepted, and completed when the stream is below its high-water mark again; wait for that before writing more. A failure of what was
 * accepted is told by the next write, or by p2p_stream_close_write. P2P_E_TIMEOUT: p2p_last_detail bytes were sent. P2P_E_STATE: closed for writing.
 * P2P_E_RESET: the peer gave up. */
P2P_API int64_t p2p_stream_write(p2p_handle stream, const uint8_t *data, size_t len, const p2p_call *call);

/* p2p_stream_read_message reads one message framed with an unsigned varint length and writes it as a block, or completes with it as data. max: bytes
 * allowed. Returns 1; 0 at the end of the flow. P2P_E_TOO_BIG: the peer sent a longer one; the stream is reset, the connection lives on. */
P2P_API int p2p_stream_read_message(p2p_handle stream, size_t max, uint8_t **data_out, size_t *len_out, const p2p_call *call);

/* p2p_stream_write_message sends data as one framed message; else as p2p_stream_write. */
P2P_API int64_t p2p_stream_write_message(p2p_handle stream, const uint8_t *data, size_t len, const p2p_call *call);

/* p2p_stream_close_write tells the peer that nothing more follows, after all that was accepted is sent; reading goes on. It completes when sent. */
P2P_API int p2p_stream_close_write(p2p_handle stream, const p2p_call *call);

/* p2p_stream_close_read gives up reading: what the peer still sends is lost, and over yamux the peer is held back once the window is full. Writing
 * goes on. To make the peer stop, reset. */
P2P_API int p2p_stream_close_read(p2p_handle stream);

/* p2p_stream_reset gives the stream up in both directions at once and tells the peer code (0 for none; QUIC and yamux carry it). The handle stays
 * until closed. */
P2P_API int p2p_stream_reset(p2p_handle stream, uint32_t code);

/* p2p_stream_deadline bounds all present and later reads and writes, from now: 0 removes the bound, -1 leaves it as it is. Past it they
 * end with P2P_E_TIMEOUT; a watched stream gets P2P_EVENT_STREAM_RESET with that status. */
P2P_API int p2p_stream_deadline(p2p_handle stream, int32_t read_ms, int32_t write_ms);

/* p2p_stream_watch delivers what the peer sends to queue: P2P_EVENT_STREAM_DATA, at the end _END or _RESET. At most credit bytes (0: 256 KiB)
 * are under way; give back what you consumed with p2p_stream_credit, else the peer is held back. max_message > 0: framed messages, one per event,
 * of at most so many bytes; a longer one ends the stream with P2P_E_TOO_BIG. Once per stream: P2P_E_STATE. */
P2P_API int p2p_stream_watch(p2p_handle stream, p2p_handle queue, uint64_t tag, size_t credit, size_t max_message);

/* p2p_stream_credit returns bytes of a watched stream's credit. Cheap; once per half of the credit is often enough. */
P2P_API int p2p_stream_credit(p2p_handle stream, size_t bytes);

/* p2p_stream_fd detaches the stream into one end of a socket pair, non-blocking and close-on-exec, and writes the descriptor, which you close. shutdown and
 * close on it act on the stream, and it alone decides how long the stream lives: until it is closed, both directions have ended, or the node closes. What
 * you wrote before is still sent, unless the peer takes nothing for 10 s. Closing the handle leaves the stream to the descriptor. A reset by the peer shows as
 * an end of file there: p2p_info's "state" tells them apart while the handle is open. P2P_E_STATE: watched, or detached before. */
P2P_API int p2p_stream_fd(p2p_handle stream, int *fd_out);

/* ---- Requests -----------------------------------------------------------------------------------------------------------------
 * A request is one question to a service of a peer, by protocol name, and one answer or a stream of them. The call's timeout travels along: the
 * handler sees the deadline, and hears of a cancellation. docs/request.md has the wire format. */

/* p2p_request_send asks and writes, or completes with as data, the answer. options: max_response (bytes; default 4 MiB), allow_limited.
 * P2P_E_REMOTE: the handler answered with an error; its words are the words, its code is p2p_last_detail, or value. P2P_E_PROTOCOL: nobody serves it
 * there. P2P_E_TOO_BIG: the answer exceeds max_response, or the request what the service takes. P2P_E_BUSY: the service has too many. Cancel,
 * timeout and close reach the handler. */
P2P_API int p2p_request_send(p2p_handle node, const char *peer, const char *protocol, const uint8_t *data, size_t len, const char *options,
                             uint8_t **answer_out, size_t *answer_len_out, const p2p_call *call);

/* p2p_request_open asks for a streamed answer and writes, or completes with as object, an exchange to be read with p2p_request_next and
 * closed; closing it early cancels the handler. The call's timeout bounds the whole exchange. options and errors as for p2p_request_send,
 * max_response counts for each part. */
P2P_API int p2p_request_open(p2p_handle node, const char *peer, const char *protocol, const uint8_t *data, size_t len, const char *options,
                             p2p_handle *exchange_out, const p2p_call *call);

/* p2p_request_next waits for the next part of a streamed answer. Returns 1 with the part (value 1 and data in a completion), 0 at the end; a last
 * part without bytes is the end itself. Parts that nobody fetches hold the handler back. */
P2P_API int p2p_request_next(p2p_handle exchange, uint8_t **part_out, size_t *part_len_out, const p2p_call *call);

/* p2p_request_serve takes requests for a protocol name: each arrives as P2P_EVENT_REQUEST and is answered, in any order, with p2p_request_respond or
 * p2p_request_fail. Close the service to stop. options: max_request (bytes; default 4 MiB), max_concurrent (open at a time, more
 * are told P2P_E_BUSY; default 1024), timeout_ms (longest time for an answer; default 0: the asker's). P2P_E_EXISTS: served already. */
P2P_API int p2p_request_serve(p2p_handle node, const char *protocol, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *service_out);

/* p2p_request_respond answers. more 1: a part, further ones follow; more 0: the last one, and the request handle is closed. Waits, or completes,
 * as p2p_stream_write does. P2P_E_CANCELLED: the asker gave up. P2P_E_TIMEOUT: its deadline passed. */
P2P_API int p2p_request_respond(p2p_handle request, const uint8_t *data, size_t len, int more, const p2p_call *call);

/* p2p_request_fail answers with an error, also after parts, and closes the request handle. code: yours, not negative; words: for people, at most
 * 4 KiB. */
P2P_API int p2p_request_fail(p2p_handle request, int32_t code, const char *words);

/* ---- Pubsub -------------------------------------------------------------------------------------------------------------------
 * A Topic is a name under which peers publish to all who subscribed (libp2p/specs, pubsub and gossipsub v1.0 to v1.3). You get your own messages
 * too. Nothing is stored: who is not there does not hear it. */

/* p2p_topic_join joins a topic, once per node and name. queue and tag: P2P_EVENT_TOPIC_JOINED and _LEFT, and P2P_EVENT_VALIDATE. options, rules that
 * every message must pass before it is delivered or passed on: max_size (bytes of data), signers (list of peer ids that may author),
 * rate (messages per second and author), burst, validate (true: ask you, by event, about messages of others), validate_timeout_ms (default 1000),
 * validate_default ("reject", "ignore", "accept"; default "ignore": the verdict when you are late), validate_capacity (verdicts pending, default 1024;
 * beyond it the default holds). P2P_E_EXISTS: joined already. P2P_E_STATE: the node has pubsub off. */
P2P_API int p2p_topic_join(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *topic_out);

/* p2p_topic_publish sends data to the topic and returns, or completes with as value, to how many peers it went. min_peers > 0: first wait
 * until so many peers are subscribed; P2P_E_PEERS when time is up. It waits, too, for room in the queues to slow subscribers (pubsub.outbound_queue);
 * P2P_E_TIMEOUT: there was none, and nothing was sent. Calls complete in the order they were made. P2P_E_TOO_BIG: more than
 * pubsub.max_message_size. P2P_E_REJECTED: breaks a rule of the topic. P2P_E_LIMIT: 64 MiB are waiting to be published. */
P2P_API int p2p_topic_publish(p2p_handle topic, const uint8_t *data, size_t len, int32_t min_peers, const p2p_call *call);

/* p2p_topic_subscribe delivers the topic's messages to queue as P2P_EVENT_MESSAGE until closed. options: capacity (messages that may wait, 16384),
 * capacity_bytes (64 MiB), overflow ("block": hold the peers back, then lose where the network does; "drop_oldest"; "drop_newest";
 * default "block"). */
P2P_API int p2p_topic_subscribe(p2p_handle topic, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *subscription_out);

/* p2p_topic_peers writes the peer ids that are subscribed, as far as this node knows. */
P2P_API int p2p_topic_peers(p2p_handle topic, char **peers_out);

/* ---- Pubsub control -----------------------------------------------------------------------------------------------------------
 * Beyond topics: who is heard, what a peer is worth, what goes on. Options of the config's section pubsub choose the router, what is signed and what
 * makes two messages the same; those of p2p_topic_join also take relay, fanout_only, message_id and score. docs/pubsub.md. */

/* p2p_topic_publish_batch sends the messages in data, each framed with its length as an unsigned varint, in their order. It returns, or completes with
 * as value, how many were published; results_out (may be NULL), with room for all, gets for each to how many peers it went, or its P2P_E_ code. A
 * completion carries the results as data, 4 bytes each in the machine's order, and as text a line "index: words" for each that failed. min_peers as
 * for p2p_topic_publish. P2P_E_PARSE: data is not framed so. P2P_E_LIMIT: more than 64 MiB would wait. Then none was taken. */
P2P_API int p2p_topic_publish_batch(p2p_handle topic, const uint8_t *data, size_t len, int32_t min_peers, int *results_out,
                                    const p2p_call *call);

/* p2p_topic_score_set replaces what counts for and against peers in the topic; options as the topic's option score. P2P_E_STATE: the node has
 * pubsub.score.enabled off. */
P2P_API int p2p_topic_score_set(p2p_handle topic, const char *options);

/* p2p_pubsub_info writes JSON: router, protocols, signing, author, message_id, peers (that can be sent to), mesh (topic to peers), scores (peer to its
 * score and the parts of it), direct, blocked; docs/info.md. P2P_E_STATE, here and below: the node has pubsub off. */
P2P_API int p2p_pubsub_info(p2p_handle node, char **json_out);

/* p2p_pubsub_score_set gives a peer a score of your own, which counts with pubsub.score.app_weight, until it is set to 0 again. P2P_E_STATE: peers
 * are not scored. */
P2P_API int p2p_pubsub_score_set(p2p_handle node, const char *peer, int64_t score);

/* p2p_pubsub_block has pubsub hear nothing of a peer, nor of what it authored, and send it nothing, until p2p_pubsub_unblock. The connection stays. */
P2P_API int p2p_pubsub_block(p2p_handle node, const char *peer);

/* p2p_pubsub_unblock ends p2p_pubsub_block. Within a moment both know each other's subscriptions again. P2P_E_NOT_FOUND: was not blocked. */
P2P_API int p2p_pubsub_unblock(p2p_handle node, const char *peer);

/* p2p_pubsub_direct_add stays connected to a peer and passes every message of its topics to it, outside the mesh and whatever its score. It has to do
 * the same with this node. addresses: where it is, as for p2p_peer_keep. P2P_E_STATE: the router is not gossipsub. */
P2P_API int p2p_pubsub_direct_add(p2p_handle node, const char *addresses);

/* p2p_pubsub_direct_remove ends p2p_pubsub_direct_add; the connection stays until it is lost. P2P_E_NOT_FOUND: was not direct. */
P2P_API int p2p_pubsub_direct_remove(p2p_handle node, const char *peer);

/* p2p_pubsub_trace records what pubsub does until the handle, a service, is closed: as P2P_EVENT_PUBSUB_TRACE on queue, and as lines of JSON in a file
 * if options name one. options: file, events (kinds to record; all), topics (all), capacity (events that may wait, 16384; then the oldest are
 * dropped and counted). P2P_E_INVALID: neither queue nor file. P2P_E_PERMISSION, P2P_E_SYSTEM: the file. */
P2P_API int p2p_pubsub_trace(p2p_handle node, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *trace_out);

/* ---- DHT ----------------------------------------------------------------------------------------------------------------------
 * The distributed hash table (libp2p/specs, kad-dht): values, providers and peers, found through peers that nobody has to know beforehand. The
 * option dht.mode turns it on: "client" asks others, "server" also answers; else every call is P2P_E_STATE. Connect to one server and wait for
 * p2p_dht_bootstrap. A peer id without addresses is then looked up here by every call that dials. docs/dht.md has keys, rules and record format.
 * Keys of values: "/<namespace>/<rest>", with the rule that dht.validators gives the namespace; or the name of a signed record, which only its
 * owner can set: "<name>" of this node's own, "<owner's peer id>/<name>" of another's. Keys of providers: a CID, a multihash in base58, 64 hex
 * digits of a SHA2-256, or a name that begins with "/". At most 1024 bytes of UTF-8. */

/* p2p_dht_bootstrap waits until at least min_peers (0: 1) are in the routing table and the node has looked for its neighbours, and returns, or completes
 * with as value, the number of peers there. P2P_E_PEERS: fewer when time was up. */
P2P_API int p2p_dht_bootstrap(p2p_handle node, int32_t min_peers, const p2p_call *call);

/* p2p_dht_put stores data under key, "/<namespace>/...", here and at the peers closest to it, and returns, or completes with as value, how many took it.
 * They forget it after their dht.record_age_ms. options: min_peers (default 1). P2P_E_PEERS: fewer took it; it is kept here. P2P_E_REJECTED: breaks the
 * namespace's rule, or a newer value is there. P2P_E_INVALID: the namespace has no rule. P2P_E_TOO_BIG: more than dht.max_value_size. */
P2P_API int p2p_dht_put(p2p_handle node, const char *key, const uint8_t *data, size_t len, const char *options, const p2p_call *call);

/* p2p_dht_get writes, or completes with as data, the best value for key. options: quorum (answers that are enough; default 0: ask all peers closest to
 * the key), raw (true: a signed record with its signature, not its value alone; p2p_dht_put passes it on). P2P_E_NOT_FOUND: nobody has it, or its owner
 * withdrew it. Time up with a value at hand is no error. */
P2P_API int p2p_dht_get(p2p_handle node, const char *key, const char *options, uint8_t **data_out, size_t *len_out, const p2p_call *call);

/* p2p_dht_search asks as p2p_dht_get does and delivers each value that is better than those before as P2P_EVENT_DHT_VALUE. P2P_EVENT_CLOSED tells the end:
 * status 0 after the whole query, P2P_E_TIMEOUT, P2P_E_PEERS if there was nobody to ask; close the handle then, or before to give up. options: quorum, raw,
 * timeout_ms (default 60 s). */
P2P_API int p2p_dht_search(p2p_handle node, const char *key, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *search_out);

/* p2p_dht_set makes data the value of a name of this node's own, and returns, or completes with as value, how many peers took it. It is published again until it
 * expires, while the node runs; after a restart too, with the option dht.store. A later set takes the place of the earlier one everywhere. options:
 * expiry_ms (default one day), republish (default true), min_peers (default 1). P2P_E_PEERS: fewer took it; it goes out when there are some. */
P2P_API int p2p_dht_set(p2p_handle node, const char *name, const uint8_t *data, size_t len, const char *options, const p2p_call *call);

/* p2p_dht_unset withdraws the value of a name: it is found no more. P2P_E_NOT_FOUND: this node has not set it. */
P2P_API int p2p_dht_unset(p2p_handle node, const char *name, const p2p_call *call);

/* p2p_dht_provide tells the peers closest to key, once, that this node provides it, and returns, or completes with as value, how many took note. They forget it
 * after their dht.provider_age_ms. P2P_E_PEERS: nobody heard it. P2P_E_PARSE: not a key. */
P2P_API int p2p_dht_provide(p2p_handle node, const char *key, const p2p_call *call);

/* p2p_dht_provide_start keeps telling that this node provides keys, one per line, until p2p_dht_provide_stop, every dht.reprovide_ms, also after a restart with the
 * option dht.store. Good for many keys: they go out region by region of the key space. Done when they are noted; the network hears soon after. */
P2P_API int p2p_dht_provide_start(p2p_handle node, const char *keys, const p2p_call *call);

/* p2p_dht_provide_stop ends p2p_dht_provide_start for keys, one per line; others forget them in time. 0 also for a key that was not provided. */
P2P_API int p2p_dht_provide_stop(p2p_handle node, const char *keys, const p2p_call *call);

/* p2p_dht_find_providers delivers each peer that provides key as P2P_EVENT_DHT_PROVIDER, as it is found, this node too. End and closing as p2p_dht_search. options:
 * count (providers that are enough; default 0: all), timeout_ms (default 60 s). */
P2P_API int p2p_dht_find_providers(p2p_handle node, const char *key, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *search_out);

/* p2p_dht_find_peer writes, or completes with as text, the addresses of peer as p2p_peer_connect takes them. P2P_E_NOT_FOUND: the DHT does not know it. */
P2P_API int p2p_dht_find_peer(p2p_handle node, const char *peer, char **addresses_out, const p2p_call *call);

/* p2p_dht_closest_peers writes, or completes with as text, the peer ids closest to key: that of a value, a CID, or a peer id. P2P_E_PEERS: nobody to ask. */
P2P_API int p2p_dht_closest_peers(p2p_handle node, const char *key, char **peers_out, const p2p_call *call);

/* p2p_dht_refresh looks for peers all over the routing table and drops those that do not answer; it returns, or completes with as value, how many are there. */
P2P_API int p2p_dht_refresh(p2p_handle node, const p2p_call *call);

/* p2p_dht_mode changes the mode to "client", "server" or "auto" (server while the node is known to be reachable). What is stored and known stays. */
P2P_API int p2p_dht_mode(p2p_handle node, const char *mode);

/* p2p_dht_info writes JSON: mode, serving, namespaces, peers, store, own_records, providing, routing_tables with each peer, ...; docs/info.md lists the keys. */
P2P_API int p2p_dht_info(p2p_handle node, char **json_out);

/* ---- Discovery ----------------------------------------------------------------------------------------------------------------
 * How peers that know a name, and not each other, meet. A source is a place to meet at: the DHT, rendezvous points (rendezvous.points), the local network
 * (mDNS). By default every source that is on is used. A topic is a name of 1 to 255 bytes of UTF-8; those of pubsub are another matter. */

/* p2p_discovery_join keeps this node together with all others that join the topic: it advertises, finds, connects and connects again until
 * closed, which tells the others in the background. Connections stay. Each peer that is connected is P2P_EVENT_DISCOVERY_CONNECTED, also one that came by
 * itself or was connected before; _FOUND, _LEFT, _UNREACHABLE, _ADVERTISED and _FAILED tell the rest. queue 0: no events. options: sources (also "peers"), points,
 * advertise, find, connect, max_peers, and pauses; docs/discovery.md. P2P_E_EXISTS: joined already. */
P2P_API int p2p_discovery_join(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *join_out);

/* p2p_discovery_peers writes the peer ids of a joined topic that are connected. */
P2P_API int p2p_discovery_peers(p2p_handle join, char **peers_out);

/* p2p_discovery_advertise tells the sources that this node is of a topic, and again before that ends or when its addresses change, until
 * closed. P2P_EVENT_DISCOVERY_ADVERTISED and _FAILED tell how it goes. options: sources, points, ttl_ms (2 h), retry_min_ms, retry_max_ms.
 * P2P_E_STATE: no source is on, or one that is named is off. */
P2P_API int p2p_discovery_advertise(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag,
                                    p2p_handle *advertisement_out);

/* p2p_discovery_find looks for peers of a topic: each comes once, as P2P_EVENT_DISCOVERY_FOUND, and is not connected. P2P_EVENT_CLOSED follows when all
 * sources have answered, with status if none could; close the search then, or earlier to end it. options: sources, points, limit (peers after which
 * it ends), follow (true: look again and again), interval_ms (60000: longest pause of follow). P2P_E_STATE: no source is on. */
P2P_API int p2p_discovery_find(p2p_handle node, const char *name, const char *options, p2p_handle queue, uint64_t tag, p2p_handle *search_out);

/* p2p_rendezvous_register tells a rendezvous point (libp2p/specs, rendezvous), given as for p2p_peer_connect, that this node is of a name, waits for its
 * consent, and writes, or completes with as object (as value the ms granted), a handle that renews it until closed; the last one closed of a name takes
 * it back. queue and tag: where it tells how that goes (0: nowhere). options: ttl_ms (2 h), retry_min_ms, retry_max_ms. P2P_E_INVALID: it does not take
 * the name or grant the time. P2P_E_BUSY: it is full. P2P_E_REFUSED: not authorized. P2P_E_PROTOCOL: it is no point. P2P_E_STATE: this node has no address. */
P2P_API int p2p_rendezvous_register(p2p_handle node, const char *point, const char *name, const char *options, p2p_handle queue, uint64_t tag,
                                    p2p_handle *registration_out, const p2p_call *call);

/* p2p_rendezvous_unregister takes back what this node told a point, also in an earlier life. Done when sent: there is no answer to it. */
P2P_API int p2p_rendezvous_unregister(p2p_handle node, const char *point, const char *name, const p2p_call *call);

/* p2p_rendezvous_discover asks a point who is of a name ("": of any) and writes, or completes with as text, JSON: registrations (each with peer,
 * namespace, addresses, ttl_ms), cookie, and refused (how many had a bad signature and are left out). options: limit, cookie (of an earlier answer: only what
 * came since; P2P_E_INVALID when the point no longer knows it: ask without). Other errors as for p2p_rendezvous_register. */
P2P_API int p2p_rendezvous_discover(p2p_handle node, const char *point, const char *name, const char *options, char **json_out, const p2p_call *call);

/* ---- NAT ----------------------------------------------------------------------------------------------------------------------
 * Whether others can reach the node, and ways through NATs: port mapping, AutoNAT v1 and v2, hole punching (DCUtR); the config's section nat.
 * P2P_EVENT_HOLE_PUNCH tells each attempt at turning a relayed connection into a direct one: side "initiator" (who was dialled through the relay) or
 * "receiver"; outcome "direct" (a plain dial did it, attempt 0), "punched", "failed" (the next attempt follows) or "gave_up", with status P2P_E_DIAL and
 * the reason in the last two. Once there is a direct connection the relayed one is closed as soon as it is idle (relay.client.linger_ms). */

/* p2p_nat_info writes JSON: reachability, source, addresses (by AutoNAT v2), nat_type, observed (by peers), relayed, port_map, hole_punch with its
 * history; docs/nat.md has the keys. Costs no network. */
P2P_API int p2p_nat_info(p2p_handle node, char **json_out);

/* p2p_nat_wait waits until others can reach the node and writes (reachability_out may be NULL), or completes with as text, its reachability. what:
 * "reachable" or NULL: directly or through a relay it holds a place with; "public": directly; "relayed": through a relay; "known": until it is public
 * or private. P2P_E_INVALID: another what. P2P_E_TIMEOUT: not yet. */
P2P_API int p2p_nat_wait(p2p_handle node, const char *what, char **reachability_out, const p2p_call *call);

/* ---- Relay --------------------------------------------------------------------------------------------------------------------
 * A relay (libp2p/specs, circuit relay v2) carries connections to nodes that others cannot reach. Such a node reserves a place with one, and is then
 * dialled at <relay's address>/p2p/<relay>/p2p-circuit/p2p/<node>. The config's section relay.client finds relays by itself; relay.service is one. */

/* p2p_relay_reserve reserves a place with a relay, connecting to it first if needed, and writes, or completes with as object, a reservation: it
 * renews itself, and is made again after a loss, until closed. addresses: the relay's, as for p2p_peer_connect. relayed_out (may be NULL), or the
 * completion's text: the node's addresses through it, which are also among p2p_node_addresses while it is held. queue and tag: its P2P_EVENT_RESERVATION,
 * which the node's queue gets too. It cannot connect: as p2p_peer_connect. P2P_E_PROTOCOL: is no relay. P2P_E_REFUSED: its rules,
 * P2P_E_LIMIT: its limits forbid it. P2P_E_EXISTS: reserved already. */
P2P_API int p2p_relay_reserve(p2p_handle node, const char *addresses, p2p_handle queue, uint64_t tag, p2p_handle *reservation_out, char **relayed_out,
                              const p2p_call *call);

/* p2p_relay_info writes JSON: client (reservations with state, addresses, expires_ms) and service (running, reservations, circuits, total, refused
 * by reason, allow, deny); docs/nat.md has the keys. Costs no network. */
P2P_API int p2p_relay_info(p2p_handle node, char **json_out);

/* p2p_relay_allow lets peers (by id), IP addresses or subnets (10.0.0.0/8), one per line, reserve a place with this node's relay service; from the first
 * one on, others may not. Places that are held stay. P2P_E_STATE: relay.service.enabled is off. */
P2P_API int p2p_relay_allow(p2p_handle node, const char *subjects);

/* p2p_relay_deny keeps peers, IP addresses or subnets from reserving a place and from connecting through this node's relay service, also if they are
 * allowed. Peers among them that hold a place are disconnected. */
P2P_API int p2p_relay_deny(p2p_handle node, const char *subjects);

/* p2p_relay_forget takes back what p2p_relay_allow, p2p_relay_deny or the options said of subjects. P2P_E_NOT_FOUND: nothing was said of one of them; then
 * nothing changes. */
P2P_API int p2p_relay_forget(p2p_handle node, const char *subjects);

/* ---- Numbers ------------------------------------------------------------------------------------------------------------------
 * What a node has and what it did, each number its own: other nodes of the process do not show. docs/numbers.md lists them all. */

/* p2p_metrics writes the node's numbers of this moment. format: "prometheus" (or NULL), the text that Prometheus scrapes, or "json". Names begin with
 * libp2pgo_; those that begin with go_ and process_ are of the process. Costs no network. */
P2P_API int p2p_metrics(p2p_handle node, const char *format, char **text_out);

/* p2p_metrics_serve serves them over HTTP until closed: /metrics and /metrics.json. address: host:port; NULL or without a host: this machine alone; port 0:
 * a free one, which p2p_info of the service tells as address. They name peers: think before you show them to others. options: max_connections
 * (default 16). P2P_E_LISTEN: the address is in use, or cannot be bound. P2P_E_PARSE: malformed. */
P2P_API int p2p_metrics_serve(p2p_handle node, const char *address, const char *options, p2p_handle *service_out);

/* p2p_bandwidth_info writes JSON: total, peers and protocols, each with bytes in and out and their rates per second, those with the most first;
 * docs/numbers.md lists the keys. P2P_E_STATE: the node has metrics.bandwidth off. */
P2P_API int p2p_bandwidth_info(p2p_handle node, char **json_out);

/* p2p_perf_serve answers runs of the perf protocol (/perf/1.0.0; libp2p/specs, perf) until closed: it swallows and sends bytes for whoever asks. options:
 * max_bytes (in each direction of a run, default 16 GiB), max_streams (runs at a time, default 16), timeout_ms (of a run, default 300000).
 * P2P_E_EXISTS: the node serves it already. */
P2P_API int p2p_perf_serve(p2p_handle node, const char *options, p2p_handle *service_out);

/* p2p_perf_run sends upload_bytes to a peer that serves perf, fetches download_bytes, and writes, or completes with as text, JSON: upload_ms, download_ms,
 * upload_bytes_per_second and more. options: allow_limited. Errors as for p2p_stream_open. P2P_E_PROTOCOL: the peer does not serve it. P2P_E_RESET: it will
 * not transfer so much, or has too many runs. */
P2P_API int p2p_perf_run(p2p_handle node, const char *peer, int64_t upload_bytes, int64_t download_bytes, const char *options, char **json_out,
                         const p2p_call *call);

/* ---- Diagnosis ---------------------------------------------------------------------------------------------------------------- */

/* p2p_peer_explain finds out why a peer can, or cannot, be reached, and writes, or completes with as text, what it found: each of its addresses, those
 * given and those known, tried by itself, with outcome and time; a verdict; what this node has to do with it; advice. addresses as for
 * p2p_peer_connect. options: format ("json", "text" for people; default "json"), attempt_ms (for one address, default 5000), protocol (that the peer should
 * speak). That it cannot be reached is no error. Connections that it makes are closed again. docs/explain.md lists the verdicts. */
P2P_API int p2p_peer_explain(p2p_handle node, const char *addresses, const char *options, char **text_out, const p2p_call *call);

#ifdef __cplusplus
}
#endif

#endif
