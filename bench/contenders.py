"""The programs that are compared: how they are built, started and run as a pair of processes."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench"
BUILD = ROOT / "build"
WORK = BUILD / "bench"
LIMIT = 60.0
"""Seconds that one program may take."""


class Failed(Exception):
    """A program did not do its part; the words are what it printed to stderr."""


def environment():
    extra = {
        "LIBP2PGO_LIBRARY": str(BUILD / "libp2pgo.so"),
        "LD_LIBRARY_PATH": str(BUILD),
        "PKG_CONFIG_PATH": str(BUILD),
        "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
    }
    return {**os.environ, **extra}


def _shell(words, **options):
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def _build_native():
    _shell(["go", "build", "-trimpath", "-o", WORK / "native", "./bench/native"], cwd=ROOT)


def _build_c():
    flags = [f"-I{BUILD}/include", f"-L{BUILD}", "-lp2pgo"]
    if shutil.which("pkg-config"):
        words = ["pkg-config", "--cflags", "--libs", "libp2pgo"]
        flags = subprocess.run(words, capture_output=True, text=True, env=environment(), check=True).stdout.split()
    sources = [BENCH / "c" / name for name in ("bench.c", "listen.c", "dial.c")]
    cc = os.environ.get("CC", "cc")
    _shell([cc, "-O2", "-o", WORK / "c", *sources, "-pthread", *flags])
    _shell([cc, "-O2", "-o", WORK / "local", BENCH / "c" / "local.c", *flags[:1], "-ldl"])


def _build_python():
    _shell([sys.executable, "-c", "import libp2pgo"])


def _build_node():
    modules = WORK / "node_modules"
    modules.mkdir(exist_ok=True)
    link = modules / "libp2pgo"
    if not link.exists():
        link.symlink_to(os.path.relpath(ROOT / "bindings" / "node", modules), target_is_directory=True)
    shutil.copy(BENCH / "node" / "bench.mjs", WORK)
    if not (link / "dist" / "index.js").exists():
        raise Failed("bindings/node is not built: npm run build there")


_BUILD = {"native": _build_native, "c": _build_c, "python": _build_python, "node": _build_node}

_COMMAND = {
    "native": [str(WORK / "native")],
    "c": [str(WORK / "c")],
    "python": [sys.executable, str(BENCH / "python" / "bench.py")],
    "node": [os.environ.get("NODE", "node"), str(WORK / "bench.mjs")],
}


def build(contender):
    """Make a contender ready to run; raises Failed with the reason if that cannot be."""
    WORK.mkdir(parents=True, exist_ok=True)
    if contender != "native" and not (BUILD / "libp2pgo.so").exists():
        raise Failed("build/libp2pgo.so is not there: make build")
    try:
        _BUILD[contender]()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(str(error)) from error


class _Process:
    """A running program whose last words and processor time are kept."""

    def __init__(self, words):
        self.words = words
        self.child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        )
        self.errors = []
        self.cpu = 0.0
        self._late = False
        self._timer = threading.Timer(LIMIT, self._expire)
        self._timer.start()
        self._reader = threading.Thread(target=lambda: self.errors.extend(self.child.stderr), daemon=True)
        self._reader.start()

    def _expire(self):
        self._late = True
        self._kill()

    def _kill(self):
        # Not Popen.kill, which may collect the child, and with it the processor time that end() is to read.
        if self.child.returncode is None:
            os.kill(self.child.pid, signal.SIGKILL)

    def line(self):
        line = self.child.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            self.end(kill=True)
            raise Failed(self._why(line)) from None

    def _why(self, line):
        self._reader.join(1)
        words = "".join(self.errors).strip() or line.strip() or f"ended with {self.child.returncode} and without a word"
        return f"{'took over ' + str(LIMIT) + ' s: ' if self._late else ''}{words}"

    def end(self, kill=False):
        if kill:
            self._kill()
        self.child.stdin.close()
        _, status, usage = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime
        self._timer.cancel()
        self._reader.join(1)
        self.child.stdout.close()
        if self.child.returncode != 0 and not kill:
            raise Failed(self._why(""))


def _arguments(args):
    return [word for key, value in args.items() for word in (f"--{key}", str(value))]


def run_pair(contender, args):
    """Run both ends of a scenario; returns the dialler's result with the processor seconds of both."""
    words = _COMMAND[contender]
    listener = _Process([*words, "listen", *_arguments(args)])
    try:
        address = listener.line()["address"]
        dialler = _Process([*words, "dial", *_arguments(args), "--peer", address])
        result = dialler.line()
        dialler.end()
    except BaseException:
        if listener.child.returncode is None:
            listener.end(kill=True)
        raise
    listener.end()
    return {**result, "cpu_seconds": round(listener.cpu + dialler.cpu, 3)}


def run_local(contender, events):
    """Measure what the library costs one process by itself."""
    if contender == "c":
        words = [str(WORK / "local"), str(BUILD / "libp2pgo.so"), str(events)]
    else:
        words = [*_COMMAND[contender], "local", "--count", str(events)]
    program = _Process(words)
    result = program.line()
    program.end()
    return result
