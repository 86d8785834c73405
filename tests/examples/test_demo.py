"""`make demo` shows what it promises, and tells when it cannot.

    python3 -m unittest tests/examples/test_demo.py
"""

import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 60 * float(os.environ.get("SLOW", "1"))


def children(pid):
    """The pids of a process' children with their command lines (Linux)."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found[int(child)] = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
    return found


class Demo:
    """A running demo. Leaving its ``with`` block ends it."""

    def __init__(self, *arguments, stdout=subprocess.PIPE):
        self.lines = []
        self.heard = threading.Condition()
        command = [sys.executable, str(ROOT / "examples" / "demo" / "run"), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT if stdout == subprocess.PIPE else None,
            text=True, encoding="utf-8", env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        )  # fmt: skip
        if stdout == subprocess.PIPE:
            self.reader = threading.Thread(target=self._read, daemon=True)
            self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.heard:
                self.lines.append(line.rstrip("\n"))
                self.heard.notify_all()

    @property
    def output(self):
        return "\n".join(self.lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.reader.join(5)
            self.process.stdout.close()

    def wait_for(self, text):
        end = time.monotonic() + LIMIT
        with self.heard:
            while not any(text in line for line in self.lines):
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None and not self.reader.is_alive():
                    raise AssertionError(f"no line with {text!r} in:\n{self.output}")
                self.heard.wait(min(left, 0.5))

    def wait(self):
        code = self.process.wait(LIMIT)
        self.reader.join(5)
        return code

    def child(self, ending):
        """The pid of the program whose command line has a word that ends so."""
        for pid, words in children(self.process.pid).items():
            if any(word.endswith(ending) for word in words):
                return pid
        raise AssertionError(f"no child {ending} among {children(self.process.pid)}")


class Whole(unittest.TestCase):
    def test_everything_arrives_and_the_table_says_so(self):
        with Demo("--size", "1") as demo:
            self.assertEqual(demo.wait(), 0, demo.output)
        rows = [re.split(r"\s{3,}", line.strip()) for line in demo.lines]
        self.assertIn(["who", "what", "how many", "how fast"], rows)
        table = {(row[0], row[1].split(",")[0]): row[2] for row in rows if len(row) == 4}
        for name in ("python", "node", "c"):
            self.assertEqual(table[name, "signed messages"], "24 of 24")
        self.assertEqual(table["node -> python", "file with random content"], "1.0 MiB")
        self.assertEqual(table["python -> c", "file with random content"], "1.0 MiB")
        self.assertEqual(table["c -> python", "primes up to 10"], "1,229 parts")
        self.assertIn(("node -> python", "counting to 500 word by word"), table)
        self.assertIn("everything arrived", demo.lines[-1])

    def test_speakers_are_named_and_nothing_is_coloured_in_a_pipe(self):
        with Demo("--size", "0.1", "--messages", "1") as demo:
            self.assertEqual(demo.wait(), 0, demo.output)
        self.assertNotIn("\033", demo.output)
        speakers = {line.split("│")[0].strip() for line in demo.lines if "│" in line and "MiB/s" not in line}
        self.assertEqual(speakers, {"demo", "python", "node", "c"})

    def test_on_a_terminal_a_bar_moves_in_one_line(self):
        parent, terminal = pty.openpty()
        with Demo("--size", "4", stdout=terminal) as demo:
            os.close(terminal)
            seen = b""
            while True:
                try:
                    seen += os.read(parent, 65536)
                except OSError:  # EIO: the other end is closed
                    break
            os.close(parent)
            self.assertEqual(demo.process.wait(LIMIT), 0, seen.decode())
        self.assertIn("\r\033[K".encode(), seen)
        self.assertIn("━".encode(), seen)
        self.assertIn("100%".encode(), seen)


class Trouble(unittest.TestCase):
    def test_who_is_killed_is_named_with_the_last_words(self):
        for ending, name in (("/demo", "c"), ("demo.mjs", "node"), ("demo.py", "python")):
            with self.subTest(killed=name), Demo("--size", "256") as demo:
                demo.wait_for("published 12 signed messages")
                demo.wait_for("c │ published")
                victim = demo.child(ending)
                others = set(children(demo.process.pid)) - {victim}
                os.kill(victim, signal.SIGKILL)
                self.assertEqual(demo.wait(), 1, demo.output)
                self.assertIn(f"failed: {name} was killed by SIGKILL; its last lines:\n", demo.output)
                self.assertNotIn("everything arrived", demo.output)
                self.assertEqual([pid for pid in others if pathlib.Path(f"/proc/{pid}").exists()], [])

    def test_ctrl_c_ends_all_three_without_a_traceback(self):
        with Demo("--size", "256") as demo:
            demo.wait_for("c │ published")
            programs = set(children(demo.process.pid))
            self.assertEqual(len(programs), 3)
            demo.process.send_signal(signal.SIGINT)
            self.assertEqual(demo.wait(), 130, demo.output)
            self.assertNotIn("Traceback", demo.output)
            self.assertIn("stopped", demo.lines[-1])
            self.assertEqual([pid for pid in programs if pathlib.Path(f"/proc/{pid}").exists()], [])

    def test_a_deadline_that_passes_names_who_is_at_work(self):
        with Demo("--size", "1024", "--deadline", "2") as demo:
            self.assertEqual(demo.wait(), 1, demo.output)
        self.assertIn("time is up after 2 s; still at work: ", demo.output)


if __name__ == "__main__":
    unittest.main()
