"""Run the test suites one after the other and say how many tests ran in each language: tests/run.py [--suite NAME] [--repeat N].

Every suite is a command that prints how many tests passed, in its runner's own words. The last line is "N passed, N failed, N skipped"; a suite that
ran no test, or ended badly without naming a failed test, counts as one failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = sys.executable
ENVIRONMENT = {
    **os.environ,
    "LIBP2PGO_LIBRARY": str(ROOT / "build" / "libp2pgo.so"),
    "PKG_CONFIG_PATH": str(ROOT / "build"),
    "LD_LIBRARY_PATH": str(ROOT / "build"),
    "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
}


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def count_go(output: str) -> Count:
    """go test -v: a line for each test, subtests indented and counted too."""
    return Count(*(len(re.findall(rf"^\s*--- {word}: ", output, re.M)) for word in ("PASS", "FAIL", "SKIP")))


def count_plain(output: str) -> Count:
    """The C suite's own closing lines: N passed, N failed, N skipped."""
    total = Count()
    for passed, failed, skipped in re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", output, re.M):
        total.add(Count(int(passed), int(failed), int(skipped or 0)))
    return total


def count_unittest(output: str) -> Count:
    total = Count()
    for ran, verdict in re.findall(r"^Ran (\d+) tests? in .*?\n+(OK.*|FAILED.*)$", output, re.M):
        failed = sum(int(n) for n in re.findall(r"(?:failures|errors|unexpected successes)=(\d+)", verdict))
        skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", verdict))
        total.add(Count(int(ran) - failed - skipped, failed, skipped))
    return total


def count_pytest(output: str) -> Count:
    total = Count()
    for line in re.findall(r"^=* ?(.*\b(?:passed|failed|error|errors|skipped)\b.*) in [\d.:]+s.*$", output, re.M):
        for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", line):
            if word == "passed":
                total.passed += int(n)
            elif word == "skipped":
                total.skipped += int(n)
            else:
                total.failed += int(n)
    return total


def count_node(output: str) -> Count:
    found = {word: sum(map(int, re.findall(rf"^(?:#|ℹ) {word} (\d+)$", output, re.M))) for word in ("pass", "fail", "cancelled", "skipped")}
    return Count(found["pass"], found["fail"] + found["cancelled"], found["skipped"])


@dataclasses.dataclass
class Suite:
    name: str
    language: str
    command: list[str]
    count: object
    folder: str = "."
    may_skip: bool = False
    """All of it, where what it needs is not to be had; each test says why."""


def unittests(folder: str) -> list[str]:
    """The command that runs the tests of tests/folder."""
    return [PYTHON, "-m", "unittest", "-v", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob(f"tests/{folder}/test_*.py"))]


SUITES = [
    Suite("lint", "lint", unittests("lint"), count_unittest),
    Suite("go", "Go", ["go", "test", "-race", "-v", "-count=1", "-timeout=20m", "./core/..."], count_go),
    Suite("simulation", "Go", ["go", "test", "-v", "-count=1", "-timeout=20m", "-run=Simulated", "./core"], count_go),
    Suite("dht", "Go", ["env", "DHT_NODES=100", "go", "test", "-v", "-count=1", "-timeout=20m", "-run=DHTOfManyNodes", "./core"], count_go),
    Suite("abi", "ABI", unittests("abi"), count_unittest),
    Suite("c", "C", [PYTHON, "tests/c/run.py", "--full"], count_plain),
    Suite("c-asan", "C, ASan", [PYTHON, "tests/c/run.py", "--mode", "asan"], count_plain),
    Suite("c-valgrind", "C, valgrind", [PYTHON, "tests/c/run.py", "--mode", "valgrind"], count_plain),
    Suite("python", "Python", [PYTHON, "-m", "pytest", "-q", "tests"], count_pytest, "bindings/python"),
    Suite("node", "Node.js", ["npm", "test", "--silent"], count_node, "bindings/node"),
    Suite("examples", "examples", unittests("examples"), count_unittest),
    Suite("lab", "lab", unittests("lab"), count_unittest, may_skip=True),
    Suite("network", "network", unittests("network"), count_unittest),
    Suite("interop", "interop", unittests("interop"), count_unittest, may_skip=True),
    Suite("bench", "bench", unittests("bench"), count_unittest),
    Suite("docs", "docs", unittests("docs"), count_unittest),
    Suite("install", "install", unittests("install"), count_unittest),
]


def run(suite: Suite) -> tuple[Count, float]:
    print(f"\n=== {suite.name}: {' '.join(suite.command)}", flush=True)
    begun = time.monotonic()
    process = subprocess.Popen(
        suite.command, cwd=ROOT / suite.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    kept = []
    for line in process.stdout:
        kept.append(line)
        print(line, end="", flush=True)
    code = process.wait()
    count = suite.count("".join(kept))  # type: ignore[operator]
    ran = count.passed + count.failed + (count.skipped if suite.may_skip else 0)
    if (code != 0 and count.failed == 0) or ran == 0:
        print(f"{suite.name}: exit code {code} with {count}: counted as a failure")
        count.failed += 1
    return count, time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", action="append", choices=[s.name for s in SUITES], help="only this one; may be repeated")
    parser.add_argument("--repeat", type=int, default=1, help="run each so often, and stop at the first that fails")
    arguments = parser.parse_args()
    # A shell that starts us in the background has signals ignored, and that is inherited; how they act by default is what is tested.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    total = Count()
    rows = []
    for suite in SUITES:
        if arguments.suite and suite.name not in arguments.suite:
            continue
        for turn in range(arguments.repeat):
            count, seconds = run(suite)
            total.add(count)
            rows.append(f"{suite.language:<10} {count}  ({seconds:.0f} s{f', run {turn + 1}' if arguments.repeat > 1 else ''})")
            if count.failed and arguments.repeat > 1:
                break
    print("\n" + "\n".join(rows))
    print(f"\n{total}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
