"""The laboratory from the command line, for tests in any language:

    python3 -m tests.lab list                            the topologies, and their hosts
    python3 -m tests.lab check                           whether this machine can have a laboratory; exit code 3 if not
    python3 -m tests.lab run TOPOLOGY -- COMMAND...      run a command inside: `ip netns exec alice ...` starts a program in host alice

The command finds the hosts' addresses as JSON in LAB_HOSTS. Its exit code is ours; when it has ended, or we are killed, everything inside ends.
Run it in the root of the repository.
"""

from __future__ import annotations

import json
import os
import sys

from .box import Unavailable, why_unavailable
from .network import Lab
from .topologies import TOPOLOGIES

UNAVAILABLE = 3


def main(words: list[str]) -> int:
    if words == ["check"]:
        reason = why_unavailable()
        print(reason or "the laboratory can be used here")
        return UNAVAILABLE if reason else 0
    if words == ["list"]:
        for name, build in TOPOLOGIES.items():
            with Lab() as net:
                build(net)
                print(f"{name:<22}{', '.join(f'{host.name} {host.address}' for host in net.hosts)}")
        return 0
    if len(words) > 3 and words[0] == "run" and words[1] in TOPOLOGIES and words[2] == "--":
        with Lab() as net:
            TOPOLOGIES[words[1]](net)
            addresses = {name: net[name].address for name in net.names}
            return net.spawn(None, words[3:], env={**os.environ, "LAB_HOSTS": json.dumps(addresses)}).wait()
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        sys.exit(UNAVAILABLE)
