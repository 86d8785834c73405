"""A node of the hash table that does what its standard input says, one command a line, and answers each with a line: ok RESULT, or error WORDS."""

import sys

from libp2pgo import sync


def main(key: str, store: str) -> None:
    options = {"mode": "server", "validators": ["app=accept"], "store": store}
    with sync.Node(listen=["/ip4/127.0.0.1/tcp/0"], identity=key, dht=options) as node:
        print("ok", node.id, node.addresses[0], flush=True)
        for line in sys.stdin:
            command, *words = line.split()
            try:
                print("ok", answer(node, command, words), flush=True)
            except Exception as error:
                print("error", " ".join(str(error).split()), flush=True)


def answer(node: sync.Node, command: str, words: list) -> object:
    dht = node.dht
    if command == "connect":
        return node.connect(words[0])
    if command == "bootstrap":
        return dht.bootstrap(int(words[0]))
    if command == "put":
        return dht.put(words[0], words[1].encode())
    if command == "set":
        return dht.set(words[0], words[1].encode())
    if command == "provide":
        return dht.provide(words[0])
    if command == "get":
        return dht.get(words[0]).decode()
    if command == "providers":
        with dht.find_providers(words[0]) as search:
            return " ".join(provider.peer for provider in search)
    if command == "peer":
        return dht.find_peer(words[0])[0]
    raise ValueError(command)


main(*sys.argv[1:])
