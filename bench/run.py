"""Compare the library with plain go-libp2p, from C, Python and Node.js, in one interleaved run.

Every figure is taken between two processes on loopback. The contenders take turns within each round, so that whatever else the machine
does meets all of them; a figure is the median of the rounds, a ratio the median of the rounds' ratios against native in the same round.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from contenders import BUILD, Failed, ROOT, build, run_local, run_pair
from scenarios import CONTENDERS, COSTS, SCENARIOS, VALUES
from table import costs_table, pairs_table

EVENTS = 100_000


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="how often everything is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that all of it works; its figures mean nothing")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="which of %(default)s")
    parser.add_argument("--scenarios", default="", help="only those whose key begins with one of these, comma-separated; 'costs' for the second table")
    parser.add_argument("--output", type=pathlib.Path, default=BUILD / "bench.json", help="where the figures go as JSON")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.contenders = options.contenders.split(",")
    unknown = set(options.contenders) - set(CONTENDERS)
    if unknown:
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    prefixes = tuple(options.scenarios.split(",")) if options.scenarios else ("",)
    options.pairs = [s for s in SCENARIOS if s.key.startswith(prefixes)]
    options.costs = "costs".startswith(prefixes)
    return options


class Progress:
    """What is under way, on one line of a terminal; silent elsewhere."""

    def __init__(self, steps):
        self.steps, self.done, self.start = steps, 0, time.monotonic()
        self.live = sys.stderr.isatty()

    def step(self, words):
        self.done += 1
        if self.live:
            spent = time.monotonic() - self.start
            print(f"\r\033[K{self.done}/{self.steps}  {spent:4.0f} s  {words}", end="", file=sys.stderr, flush=True)

    def end(self):
        if self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def exchanges(pairs):
    """The distinct exchanges behind the rows: two rows may read the same one."""
    seen = {}
    for scenario in pairs:
        seen.setdefault(json.dumps(scenario.args, sort_keys=True), []).append(scenario)
    return list(seen.values())


def measure(options, ready):
    results = {c: {} for c in ready}
    costs = {c: [] for c in ready}
    failures = []
    groups = exchanges(options.pairs)
    progress = Progress(options.rounds * len(ready) * (len(groups) + options.costs))

    def attempt(contender, words, run):
        progress.step(f"{contender}: {words}")
        try:
            return run()
        except Failed as error:
            failures.append((contender, words, str(error)))
            return None

    for _ in range(options.rounds):
        for group in groups:
            args = {**group[0].args, **(group[0].quick if options.quick else {})}
            for contender in ready:
                result = attempt(contender, group[0].title, lambda: run_pair(contender, args))
                for scenario in group:
                    value = None if result is None else VALUES[scenario.value](result)
                    results[contender].setdefault(scenario.key, []).append({"value": value, "result": result})
        if options.costs:
            for contender in ready:
                cost = attempt(contender, "costs", lambda: run_local(contender, EVENTS // (10 if options.quick else 1)))
                if cost is not None:
                    costs[contender].append(cost)
    progress.end()
    return results, costs, failures


def summarise_pairs(options, results):
    """Row key to contender to its median, its ratio against native, and whether that meets the target."""
    summary = {}
    for scenario in options.pairs:
        row = summary[scenario.key] = {}
        control = [r["value"] for r in results.get("native", {}).get(scenario.key, [])]
        for contender, rows in results.items():
            values = [r["value"] for r in rows.get(scenario.key, [])]
            good = [v for v in values if v is not None]
            if not good:
                continue
            cell = row[contender] = {"value": statistics.median(good) if scenario.value != "lost" else max(good)}
            ratios = [v / n for v, n in zip(values, control) if v is not None and n]
            if contender != "native" and ratios and not scenario.absolute:
                cell["ratio"] = statistics.median(ratios)
            target = scenario.targets.get(contender)
            measured = cell["value"] if scenario.absolute else cell.get("ratio")
            if target is not None and measured is not None:
                cell["target"] = target
                cell["met"] = measured <= target if scenario.lower else measured >= target
    return summary


def summarise_costs(costs):
    summary = {}
    for cost in COSTS:
        row = summary[cost.key] = {}
        for contender, rounds in costs.items():
            values = [r[cost.key] for r in rounds if r.get(cost.key) is not None]
            if not values:
                continue
            cell = row[contender] = {"value": statistics.median(values) * cost.scale}
            target = cost.targets.get(contender)
            if target is not None:
                cell["target"] = target
                cell["met"] = cell["value"] <= target
    return summary


def _output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def machine():
    model = ""
    try:
        with open("/proc/cpuinfo") as f:
            model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "")
    except OSError:
        pass
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": model,
        "processors": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }


def versions():
    modules = _output("go", "list", "-m", "github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-pubsub").splitlines()
    return {
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "go": _output("go", "env", "GOVERSION"),
        **{module.split()[0].rsplit("/", 1)[1]: module.split()[1] for module in modules},
        "python": platform.python_version(),
        "node": _output("node", "--version"),
    }


def main():
    options = parse()
    ready, missing = [], {}
    for contender in options.contenders:
        try:
            build(contender)
            ready.append(contender)
        except Failed as error:
            missing[contender] = str(error)
            print(f"{contender} is left out: {error}", file=sys.stderr)
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["bench/run.py", *sys.argv[1:]]),
        "rounds": options.rounds,
        "quick": options.quick,
        "machine": machine(),
        "versions": versions(),
        "missing": missing,
    }
    results, costs, failures = measure(options, ready)
    report["pairs"] = summarise_pairs(options, results)
    report["costs"] = summarise_costs(costs) if options.costs else {}
    report["failures"] = [{"contender": c, "scenario": s, "words": w} for c, s, w in failures]
    report["rounds_raw"] = {"pairs": results, "costs": costs}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")

    m, v = report["machine"], report["versions"]
    print(f"{m['processors']} x {m['processor']}, load {m['load_before']:.1f}; {v['go']}, go-libp2p {v.get('go-libp2p')}, Python {v['python']}, Node {v['node']}")
    print(f"{report['rounds']} round(s), {report['date']}{'; a quick run, whose figures mean nothing' if options.quick else ''}\n")
    print(pairs_table(options.pairs, report["pairs"]))
    if options.costs:
        print(costs_table(COSTS, report["costs"]))
    for contender, words, why in failures:
        print(f"FAILED  {contender}: {words}: {why}")
    return 1 if failures or missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
