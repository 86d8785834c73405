"""Build and run the C suite.

    python3 tests/c/run.py                       every program, plainly
    python3 tests/c/run.py queue stream          these programs
    python3 tests/c/run.py stream:NAME           one test of a program
    --mode plain | asan | asan-go | valgrind     how: plainly; host with AddressSanitizer and LeakSanitizer; library built with it as well; memcheck
    --repeat N                                   each program so often; the first failure ends it
    --full                                       the leak test with the counts of a release (minutes)

Every program is one file, built with nothing but pkg-config. Prints what failed, and at the end: N passed, N failed.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from cases import header  # noqa: E402

ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("LIBP2PGO_BUILD", ROOT / "build"))
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))
WARNINGS = "-std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wno-unused-function -Werror -O1 -g"
SANITIZE = "-fsanitize=address -fno-omit-frame-pointer"

# memcheck is some thirty times slower: what stresses the C front. What it finds there it would find elsewhere.
VALGRIND = {
    "queue": [],
    "config": [],
    "cases": [],
    "keys": ["key__is_read_in_every_format", "envelope__opens_for_its_domain_alone", "address__is_taken_apart_and_put_together", "cid__is_made_read_and_verified"],
    "handle": ["handle__of_another_kind", "handle__stale_of_each_kind_and_closed_twice", "null__in_place_of_texts_and_results_names_the_parameter"],
    "node": ["node_new__completes_on_a_queue", "peer_connect__tells_both_sides", "node_close__closes_its_children_and_twice_is_good"],
    "stream": ["stream__carries_bytes_both_ways__tcp", "stream_watch__delivers_messages_one_by_one__tcp", "stream_queue__reads_and_writes_complete__tcp"],
    "request": ["request__is_answered__tcp", "request_stream__brings_every_part_in_order__tcp"],
    "explain": ["explain__tells_who_can_be_reached__tcp"],
    "numbers": ["metrics__are_the_nodes_own", "metrics_serve__answers_over_http_and_gives_its_port_back"],
    "pubsub_control": ["publish_batch__sends_many_and_tells_of_each"],
    "dht": ["dht_put__is_got_from_every_node"],
    "pubsub": ["publish__reaches_everybody_and_oneself_with_all_facts__tcp"],
}

# The sanitizer enlarges every frame, so that a promise about stack sizes means nothing under it.
NOT_WITH_ASAN = {"signals": {"thread_stack__of_64_kib_is_enough"}}


def environment(mode):
    library = BUILD / "asan" if mode == "asan-go" else BUILD
    extra = {"PKG_CONFIG_PATH": str(BUILD), "LD_LIBRARY_PATH": str(library)}
    if mode.startswith("asan"):
        # Go's handlers come after the sanitizer's; its own must not refuse them. Leaks end the program with 23.
        extra["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=23:allow_user_segv_handler=1:handle_segv=0:detect_stack_use_after_return=0"
        extra["SLOW"] = os.environ.get("SLOW", "3")
    if mode == "valgrind":
        extra["SLOW"] = os.environ.get("SLOW", "15")
    return {**os.environ, **extra}


def build(program, mode):
    folder = BUILD / "c" / ("asan" if mode.startswith("asan") else "plain")
    folder.mkdir(parents=True, exist_ok=True)
    cases, text = folder / "cases.h", header()
    if not cases.exists() or cases.read_text() != text:
        cases.write_text(text)
    flags = WARNINGS + (" " + SANITIZE if mode.startswith("asan") else "")
    output = folder / program
    sources = [HERE / f"{program}.c", HERE / "harness.h", HERE / "support.h", cases, BUILD / "libp2pgo.so"]
    if output.exists() and all(output.stat().st_mtime > source.stat().st_mtime for source in sources):
        return output
    command = f"{os.environ.get('CC', 'cc')} {flags} -I{folder} {HERE / program}.c $(pkg-config --cflags --libs libp2pgo) -o {output}"
    subprocess.run(["sh", "-ec", command], check=True, env=environment(mode))
    return output


def names_of(program, path, mode, chosen):
    """The tests to run, or None for all."""
    if chosen:
        return [chosen]
    if mode == "valgrind":
        return VALGRIND[program] or None
    left_out = NOT_WITH_ASAN.get(program, set()) if mode.startswith("asan") else set()
    if not left_out:
        return None
    listed = subprocess.run([str(path), "--list"], check=True, stdout=subprocess.PIPE, text=True, env=environment(mode)).stdout.split()
    for name in sorted(left_out):
        print(f"# skipped in mode {mode}: {program}:{name}")
    return [name for name in listed if name not in left_out]


def memcheck_errors(output):
    """What memcheck complains of, except for system calls that Go makes with arguments on its own stacks, of which memcheck knows nothing: a
    suppression has to name each argument of each call, so that which ones are missing was a matter of luck."""
    paragraphs = re.split(r"^==\d+== *\n", output, flags=re.MULTILINE)
    complaints = [p for p in paragraphs if re.search(r"^==\d+== ", p, re.MULTILINE)]
    by_go = re.compile(r"==\d+== Syscall param .*\n==\d+==    at 0x[0-9A-F]+: \?\?\? \(in \S*/libp2pgo\.so\)")
    return [p for p in complaints if not by_go.search(p)]


def run(program, mode, chosen, full):
    """Runs one program; returns how many tests passed and failed."""
    path = build(program, mode)
    command = [str(path), *(names_of(program, path, mode, chosen) or [])]
    if mode == "valgrind":
        command = [
            # What Go wrote into our memory came through stacks that memcheck takes for uninitialised.
            # It runs one thread at a time; unfairly, one of Go's that spins keeps the others waiting for most of a minute.
            "valgrind", "--quiet", "--fair-sched=yes", "--undef-value-errors=no", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            f"--suppressions={ROOT / 'tests' / 'valgrind.supp'}", *command,
        ]
    env = environment(mode)
    if program == "exit" and mode.startswith("asan"):
        env["ASAN_OPTIONS"] += ":detect_leaks=0"  # it ends in the middle of everything, on purpose
    if full:
        env.update(NODES="1000", PAIRS="200", STREAMS="100000", REQUESTS="20000", DEADLINE="3600")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env)
    passed = len(re.findall(r"^ok ", done.stdout, re.MULTILINE))
    failed = len(re.findall(r"^not ok ", done.stdout, re.MULTILINE))
    if failed == 0 and (done.returncode != 0 or memcheck_errors(done.stdout)):
        failed = 1  # it crashed, leaked, or ran nothing
    if failed or full:
        print(f"{program} ({mode}): exit code {done.returncode}\n{done.stdout}")
    else:
        print(f"{program} ({mode}): {passed} passed")
    sys.stdout.flush()
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM[:TEST]")
    parser.add_argument("--mode", default="plain", choices=["plain", "asan", "asan-go", "valgrind"])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    wanted = options.programs or (list(VALGRIND) if options.mode == "valgrind" else PROGRAMS)
    passed = failed = 0
    for _ in range(options.repeat):
        for word in wanted:
            program, _, test = word.partition(":")
            if program not in PROGRAMS:
                parser.error(f"no program {program}; there are {', '.join(PROGRAMS)}")
            good, bad = run(program, options.mode, test, options.full)
            passed, failed = passed + good, failed + bad
        if failed:
            break
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
