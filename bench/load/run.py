#!/usr/bin/env python3
"""The load benchmark: each proxy on core 0, its origin and the load generator on core 1, one after the other in turns.

Usually called by scripts/bench.sh, which builds what it needs; bench/README.md has the method.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile

import cases
import kinds
import measure
import origins
import peers
import report
import system

ROOT = os.path.dirname(os.path.dirname(peers.HERE))
README = os.path.join(ROOT, "bench", "README.md")
# Memory does not mind noise: more rounds say nothing more.
MEMORY_ROUNDS = 3
MARKS = ("<!-- results -->\n", "<!-- /results -->\n")


def parse_arguments():
    """The command line."""
    names = [case.name for case in cases.CASES]
    usual = [case.name for case in cases.CASES if case.usual]
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured time of a load (default 4)")
    parser.add_argument("--warmup", type=float, default=1.0, help="time before it (default 1)")
    parser.add_argument("--cases", default=",".join(usual), help=f"some of {','.join(names)} (default: {','.join(usual)})")
    parser.add_argument("--peers", default=",".join(peers.NAMES), help=f"some of {','.join(peers.NAMES)}")
    parser.add_argument("--ringway", help="Ringway's binary (default: the one just built)")
    parser.add_argument("--tool", required=True, type=os.path.abspath, help=argparse.SUPPRESS)
    parser.add_argument("--wheels", default=os.environ.get("VIRTUAL_ENV"), help="virtual environment with the peers' wheels")
    parser.add_argument("--rate", type=int, default=5000, help="requests a second of the open loop (default 5000)")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections (default 5000)")
    parser.add_argument("--repeats", type=int, default=3, help="tries more of a measurement that others disturbed (default 3)")
    parser.add_argument("--output", default=os.path.join(ROOT, "target", "bench"), help="folder of results.md, .json, .svg")
    parser.add_argument("--publish", action="store_true", help="put the results into bench/ and its README too")
    return parser.parse_args()


def choose(names, known, what):
    """The items of `known` whose names were asked for; ends the program at an unknown one."""
    wanted = names.split(",")
    unknown = set(wanted) - {one.name for one in known}
    if unknown:
        sys.exit(f"bench: no {what} here called {', '.join(sorted(unknown))}")
    return [one for one in known if one.name in wanted]


def chosen_cases(arguments):
    """The cases asked for, with their options."""
    chosen = choose(arguments.cases, cases.CASES, "case")
    for case in chosen:
        if "rate" in case.options:
            case.options["rate"] = arguments.rate
        if case.kind == "idle":
            case.options["connections"] = arguments.idle
    return chosen


def chosen_peers(arguments):
    """The peers asked for that are here; says which are not."""
    found = peers.find(arguments.wheels, arguments.ringway)
    wanted = arguments.peers.split(",")
    unknown = set(wanted) - set(peers.NAMES)
    if unknown:
        sys.exit(f"bench: there is no peer called {', '.join(sorted(unknown))}")
    missing = set(wanted) - {peer.name for peer in found}
    if missing:
        print(f"not here, left out: {', '.join(sorted(missing))}")
    return [peer for peer in found if peer.name in wanted]


def measure_quietly(bench, case, peer, repeats):
    """A measurement that others did not disturb, or the least disturbed of all tries; and how many were thrown away."""
    best = None
    for tried in range(repeats + 1):
        result = bench.measure(case, peer)
        if best is None or result["others"] < best["others"]:
            best = result
        if best["others"] <= system.NOISE_LIMIT:
            return best, tried
        print(f"{case.name:9} {peer.name:16} others used {result['others']:.0%} of a core: again", flush=True)
    return best, repeats


def run_all(bench, chosen, found, arguments):
    """All cases, all rounds, the peers in turns. A peer that fails is left out of the round, and named in the report."""
    measured, thrown_away, failures = {}, 0, []
    for case in chosen:
        able = [peer for peer in found if peer.can(cases.SETUPS[case.setup].folder)]
        by_peer = measured.setdefault(case.name, {peer.name: [] for peer in able})
        minds_noise = kinds.KINDS[case.kind].minds_noise
        for _ in range(arguments.rounds if minds_noise else min(arguments.rounds, MEMORY_ROUNDS)):
            for peer in able:
                try:
                    result, thrown = measure_quietly(bench, case, peer, arguments.repeats)
                except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                    failures.append(f"{case.name}, {peer.name}: {error}")
                    print(f"{case.name:9} {peer.name:16} failed: {error}", flush=True)
                    continue
                thrown_away += thrown
                by_peer[peer.name].append(result)
                print(f"{case.name:9} {peer.name:16} {summary(case, result)}", flush=True)
    return {"cases": measured, "thrown_away": thrown_away, "failures": failures}


def summary(case, result):
    """The numbers of one measurement on one line."""
    columns = [f"{title} {result[key] / by:,.{digits}f}" for title, key, digits, by in kinds.KINDS[case.kind].columns]
    return ", ".join([*columns, f"errors {result['errors']}"])


def machine():
    """Where this runs."""
    cpu = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {"date": today, "cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release().split("-")[0]}


def write(results, arguments):
    """The three files, and with --publish those in git."""
    files = {"results.md": report.markdown(results), "results.json": report.as_json(results), "results.svg": report.plot(results)}
    os.makedirs(arguments.output, exist_ok=True)
    for name, text in files.items():
        save(os.path.join(arguments.output, name), text)
    print(f"\n{files['results.md']}\nwritten to {arguments.output}")
    if arguments.publish:
        save(os.path.join(ROOT, "bench", "results.json"), files["results.json"])
        save(os.path.join(ROOT, "bench", "results.svg"), files["results.svg"])
        with open(README, encoding="utf-8") as file:
            before, _, rest = file.read().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        save(README, f"{before}{MARKS[0]}\n{files['results.md']}\n{MARKS[1]}{after}")


def save(path, text):
    """Writes a file."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    """Runs it all."""
    arguments = parse_arguments()
    if os.cpu_count() < 2:
        sys.exit("bench: the proxy needs one core and the rest another")
    peers.raise_file_limit()
    os.sched_setaffinity(0, {system.ENDS_CORE})
    chosen, found = chosen_cases(arguments), chosen_peers(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        # nginx's worker gives up root for a user that must get into its folder.
        os.chmod(folder, 0o755)
        with origins.Origins(arguments.tool, system.ENDS_CORE, folder) as behind:
            bench = measure.Bench(arguments.tool, arguments.seconds, arguments.warmup, folder, behind)
            measured = run_all(bench, chosen, found, arguments)
    settings = {"rounds": arguments.rounds, "seconds": arguments.seconds, "warmup": arguments.warmup, "rate": arguments.rate}
    versions = {peer.name: peer.version for peer in found}
    results = {"machine": machine(), "settings": settings, "versions": versions}
    write(results | measured, arguments)
    if measured["failures"]:
        sys.exit("bench: some measurements failed")


if __name__ == "__main__":
    main()
