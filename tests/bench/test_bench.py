"""Every scenario of the benchmark runs with every contender. A quick run's figures mean nothing; that there are figures does.

    python3 -m unittest tests/bench/test_bench.py
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import run  # noqa: E402
from scenarios import CONTENDERS, COSTS, SCENARIOS  # noqa: E402


class Bench(unittest.TestCase):
    def test_quick_run_fills_both_tables(self):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder, "bench.json")
            done = subprocess.run(
                [sys.executable, str(ROOT / "bench" / "run.py"), "--quick", "--output", str(output)], capture_output=True, text=True, timeout=900
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            report = json.loads(output.read_text())
        self.assertEqual(report["failures"], [])
        for scenario in SCENARIOS:
            self.assertIn(scenario.title, done.stdout)
            row = report["pairs"][scenario.key]
            self.assertEqual(set(row), set(CONTENDERS), scenario.key)
            for contender, target in scenario.targets.items():
                self.assertEqual(row[contender]["target"], target)
                self.assertIn("met", row[contender])
        for cost in COSTS:
            for contender in cost.targets:
                self.assertIn("met", report["costs"][cost.key][contender])
        for key in ("date", "machine", "versions", "rounds"):
            self.assertTrue(report[key], key)
        # However small the run: what is published arrives.
        for key in ("burst", "burst-unsigned"):
            for contender in CONTENDERS:
                self.assertEqual(report["pairs"][key][contender]["value"], 0, f"{key}: {contender} lost messages")


class Summary(unittest.TestCase):
    """The arithmetic of the table, on figures made up."""

    def options(self, *keys):
        return type("options", (), {"pairs": [s for s in SCENARIOS if s.key in keys]})

    def rows(self, key, *values):
        return {key: [{"value": v, "result": None} for v in values]}

    def test_ratio_is_the_median_of_the_rounds_ratios(self):
        # The machine was twice as fast in the second round, for both.
        results = {"native": self.rows("bulk-tls", 100, 200, 100), "c": self.rows("bulk-tls", 90, 180, 50)}
        cell = run.summarise_pairs(self.options("bulk-tls"), results)["bulk-tls"]["c"]
        self.assertEqual(cell, {"value": 90, "ratio": 0.9, "target": 0.95, "met": False})

    def test_lower_is_better_for_times(self):
        results = {"native": self.rows("trip-p50", 100), "c": self.rows("trip-p50", 110), "node": self.rows("trip-p50", 401)}
        row = run.summarise_pairs(self.options("trip-p50"), results)["trip-p50"]
        self.assertTrue(row["c"]["met"])
        self.assertFalse(row["node"]["met"])

    def test_one_lossy_round_misses_the_target(self):
        results = {"native": self.rows("burst", 0, 0, 0), "c": self.rows("burst", 0, 0, 1)}
        cell = run.summarise_pairs(self.options("burst"), results)["burst"]["c"]
        self.assertEqual((cell["value"], cell["met"]), (1, False))

    def test_a_failed_round_is_left_out_and_not_read_as_zero(self):
        results = {"native": self.rows("bulk-tls", 100, 100), "c": self.rows("bulk-tls", None, 97)}
        self.assertEqual(run.summarise_pairs(self.options("bulk-tls"), results)["bulk-tls"]["c"]["ratio"], 0.97)


if __name__ == "__main__":
    unittest.main()
