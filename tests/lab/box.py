"""The box that a laboratory lives in: namespaces of mounts, processes and networks whose first process ends with ours.

The first process reads a pipe that only we hold. When we end, even by SIGKILL, it reads the end of it and exits; then the kernel kills what runs in
the box and takes its networks down. The names of the networks are files on a file system that only the box sees.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time

TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "tc": "iproute2", "nft": "nftables", "ethtool": "ethtool", "conntrack": "conntrack"}

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

_FIRST = """
mount --make-rprivate / && mkdir -p /run/netns && mount -t tmpfs lab /run/netns && ip link set lo up || exit 1
read pid rest < /proc/self/stat
echo $pid
exec cat
"""


class Unavailable(Exception):
    """This machine, or this user, cannot have a laboratory; the words say why."""


class Box:
    def __init__(self) -> None:
        missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool, path=_path())})
        if missing:
            raise Unavailable(f"the laboratory needs the packages {', '.join(missing)}")
        if os.geteuid() != 0:
            raise Unavailable("the laboratory makes network namespaces, for which one has to be root")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _FIRST],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(), start_new_session=True,
        )
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self._process.kill()
            raise Unavailable(f"no network namespaces here: {self._process.communicate()[1].strip() or 'the first process ended'}")
        self._first = int(line)

    def command(self, network: str | None, words: list[str], folder: str | None = None) -> list[str]:
        """The words that run a command inside, in one of the named networks."""
        enter = ["nsenter", f"--target={self._first}", "--mount", "--net", "--pid", f"--wdns={folder or os.getcwd()}", "--"]
        return [*enter, *(["ip", "netns", "exec", network] if network else []), *words]

    def script(self, *lines: str) -> str:
        """Run lines of shell; the first that fails ends it with an error that has its words."""
        done = subprocess.run(
            self.command(None, ["sh", "-e"], "/"), input="\n".join(lines), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
        )
        if done.returncode:
            raise RuntimeError(f"in the laboratory: {done.stderr.strip()}\n" + "\n".join(lines))
        return done.stdout

    def spawn(self, network: str | None, words: list[str], **options) -> Process:
        return Process(self.command(network, words, options.pop("cwd", None)), **options)

    def socket(self, network: str, kind: int) -> socket.socket:
        """A socket of ours in one of the networks: what it was made in is where it stays."""
        made: list[socket.socket | OSError] = []

        def make() -> None:  # on a thread of its own, which then ends: a thread is in one network
            try:
                with open(f"/proc/{self._first}/root/run/netns/{network}") as file:
                    if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"cannot enter {network}")
                made.append(socket.socket(socket.AF_INET, kind))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def close(self) -> None:
        """End it, with every process in it."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        self._process.wait()


class Process(subprocess.Popen):
    """A process in the box. nsenter stays in front of it, and ends as it ends; ``inner`` is the number of the real one."""

    def __init__(self, words: list[str], **options) -> None:
        options["env"] = _environment(options.get("env"))
        super().__init__(words, **options)

    @property
    def inner(self) -> int:
        end = time.monotonic() + 5
        while time.monotonic() < end and self.poll() is None:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as children:
                if numbers := children.read().split():
                    return int(numbers[0])
            time.sleep(0.001)
        raise ProcessLookupError(f"{shlex.join(self.args)} has ended")

    def signal(self, number: int) -> None:
        os.kill(self.inner, number)
        if number == signal.SIGCONT:
            self.send_signal(number)  # nsenter stood still with it


def nft(network: str, rules: str) -> str:
    """A line of shell that loads rules in one network."""
    return f"ip netns exec {network} nft -f - <<'EOF'\n{rules}\nEOF"


_PROBE = [
    "ip netns add probe",
    "ip -n probe link add br0 type bridge",
    "ip -n probe link add p0 type veth peer name p1",
    "tc -n probe qdisc add dev p0 root tbf rate 1mbit burst 16kb latency 50ms",
    nft("probe", "table netdev t {\nchain c {\ntype filter hook ingress device p0 priority 0\nnumgen random mod 100 < 1 drop\n}\n}"),
    nft("probe", "table ip n {\nchain c {\ntype nat hook postrouting priority srcnat\nmasquerade random,fully-random\n}\n}"),
]
"""What of the kernel the laboratory is made of; that the rest of it works is for its tests to say."""


def why_unavailable() -> str | None:
    """Why there can be no laboratory here, or None."""
    try:
        box = Box()
    except Unavailable as reason:
        return str(reason)
    try:
        box.script(*_PROBE)
    except RuntimeError as reason:
        return str(reason)
    finally:
        box.close()
    return None


def _path() -> str:
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def _environment(base: dict[str, str] | None = None) -> dict[str, str]:
    return {**(os.environ if base is None else base), "PATH": _path()}
