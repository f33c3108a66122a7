#!/usr/bin/env python3
"""Measures yett against its peers in one run. `bench/README.md` says how to read what it prints."""

import argparse
import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import report
import tokens
from peers import BASE, PEERS, SUBJECT, version
from rounds import run_scenario
from scenarios import SCENARIOS
from servers import BenchError, program

BENCH = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of yett and nginx (5)")
    parser.add_argument("--peer-rounds", type=int, default=2, help="rounds of each further peer (2)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a round (3)")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds of load before the rounds (1)")
    parser.add_argument("--scenario", action="append", choices=[s.name for s in SCENARIOS],
                        help="only this one; may be given several times")
    parser.add_argument("--peer", action="append", choices=[name for name in PEERS if name != SUBJECT],
                        help="only this peer besides nginx, which always takes part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds, as a trial")
    parser.add_argument("--slower", type=int, default=1,
                        help="have the backend of `overload` work so many times longer on a request (1)")
    parser.add_argument("--binary", type=Path, help="the yett to measure (target/dist/yett)")
    parser.add_argument("--profile", action="store_true",
                        help="record yett with perf in one more round, which does not count")
    parser.add_argument("--save", action="store_true",
                        help="write bench/results/ also with --scenario, --peer, --quick or --binary")
    options = parser.parse_args()
    is_part = options.scenario or options.peer or options.quick or options.binary or options.slower > 1
    options.is_saved = options.save or not is_part
    if options.quick:
        options.rounds, options.peer_rounds, options.seconds, options.warm_up = 1, 1, 2, 1
    if min(options.rounds, options.peer_rounds, options.seconds, options.warm_up, options.slower) < 1:
        parser.error("rounds and seconds are at least 1")
    options.peer_rounds = min(options.peer_rounds, options.rounds)
    target = Path(os.environ.get("CARGO_TARGET_DIR", BENCH.parent / "target"))
    options.binary = (options.binary or target / "dist" / "yett").resolve()
    if not options.binary.exists():
        parser.error("there is no yett binary to measure: run `make dist`, or name one with --binary")
    return options


def chosen_peers(options):
    """Programs and versions of the proxies, and sentences on those left out."""
    programs, versions, left_out = {}, {}, []
    for name, peer in PEERS.items():
        if options.peer and name not in (BASE, SUBJECT, *options.peer):
            continue
        path = options.binary if name == SUBJECT else peer.find()
        found = path and version(name, path)
        if found:
            programs[name], versions[name] = path, found
            continue
        why = "does not run here" if path else "is not installed"
        if name in (BASE, SUBJECT) or options.peer:
            raise BenchError(f"{name} {why}: run `make needs` and `sh scripts/bench-needs.sh`")
        left_out.append(f"left out: {name}, which {why}")
    return programs, versions, left_out


def chosen_scenarios(options):
    """The scenarios that can be measured here, and sentences on those left out."""
    missing = [name for name in ("wrk", "curl") if not program(name)]
    if missing:
        raise BenchError(f"{', '.join(missing)} is not installed: run `make needs`")
    found, left_out = [], []
    for scenario in SCENARIOS:
        scenario = replace(scenario, service_ms=scenario.service_ms * options.slower)
        if scenario.name not in options.scenario if options.scenario else scenario.on_demand:
            continue
        why = ", ".join(f"{name} is not installed" for name in scenario.needs if not is_there(name))
        if not why and open_files() < scenario.files:
            why = f"only {open_files()} files may be open (`ulimit -n`), not {scenario.files}"
        if not why:
            found.append(scenario)
        elif options.scenario:
            raise BenchError(f"{scenario.name} cannot be measured: {why}")
        else:
            left_out.append(f"left out: {scenario.name}, since {why}")
    return found, left_out


def is_there(name):
    """Whether there is a program, or what signs tokens."""
    return tokens.python() if name == "cryptography" else program(name)


def open_files():
    """How many files a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def cores_to_use():
    """A core for the proxies and one for everything else, or none to choose from."""
    there = sorted(os.sched_getaffinity(0))
    return (there[0], there[1]) if len(there) > 1 else (None, None)


def run(options, work):
    """The whole run; returns whether nothing failed and all counts agree."""
    programs, versions, notes = chosen_peers(options)
    scenarios, left_out = chosen_scenarios(options)
    notes += left_out
    print("".join(f"{note}\n" for note in notes), end="", flush=True)
    cores = cores_to_use()
    facts = report.facts(options.binary, versions, cores, options)
    measured = [run_scenario(scenario, programs, options, cores, work / scenario.name)
                for scenario in scenarios]
    counts = [count for m in measured for count in m.counts]
    fresh = ", ".join(f"{m.scenario.name} {m.fresh_kib:,}" for m in measured)
    notes = facts + notes + report.budgets(measured) + [count.text() for count in counts]
    notes.append(f"yett before any load, KiB resident: {fresh}")
    for lines in report.tables(measured):
        print("\n" + report.plain_text(lines))
    print("\n" + "\n".join(notes))
    if options.is_saved:
        report.write(BENCH / "results", measured, notes)
        print("\nwritten to bench/results/latest.json and latest.md")
    failed = sum(row["failed"] for row in report.rows(measured))
    odd = sum(not count.agrees() for count in counts)
    if failed or odd:
        print(f"\n{failed} requests failed, {odd} counts disagree: the numbers above mean nothing",
              file=sys.stderr)
    return not failed and not odd


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)
    # Idle connections are open files; the proxies inherit the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    options = arguments()
    work = BENCH / "out" / str(os.getpid())
    work.mkdir(parents=True)
    try:
        is_good = run(options, work)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        is_good = False
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        is_good = False
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
