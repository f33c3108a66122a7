#!/usr/bin/env python3
"""Measures yett against its peers in one run. `bench/README.md` says how to read what it prints."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import report
from load import IN_FLIGHT
from peers import SCENARIOS, Stage
from servers import BenchError, program

BENCH = Path(__file__).resolve().parent
# Longer than any proxy keeps access lines in its buffer.
SETTLE_S = 1.3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each proxy (5)")
    parser.add_argument("--seconds", type=int, default=6, help="length of a round (6)")
    parser.add_argument("--warm-up", type=int, default=2, help="seconds of load before the rounds (2)")
    parser.add_argument("--scenario", action="append", choices=[s.name for s in SCENARIOS],
                        help="only this one; may be given several times")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds, as a trial")
    parser.add_argument("--binary", type=Path, help="the yett to measure (target/release/yett)")
    parser.add_argument("--profile", action="store_true",
                        help="record yett with perf in one more round, which does not count")
    parser.add_argument("--save", action="store_true",
                        help="write bench/results/ also with --scenario, --quick or --binary")
    options = parser.parse_args()
    options.is_saved = options.save or not (options.scenario or options.quick or options.binary)
    if options.quick:
        options.rounds, options.seconds, options.warm_up = 1, 2, 1
    if min(options.rounds, options.seconds, options.warm_up) < 1:
        parser.error("rounds and seconds are at least 1")
    target = Path(os.environ.get("CARGO_TARGET_DIR", BENCH.parent / "target"))
    options.binary = (options.binary or target / "release" / "yett").resolve()
    if not options.binary.exists():
        parser.error("there is no yett binary to measure: run `make build`, or name one with --binary")
    return options


def chosen(options):
    """The scenarios whose programs are installed."""
    found = []
    for scenario in SCENARIOS:
        if options.scenario and scenario.name not in options.scenario:
            continue
        missing = [name for name in ["nginx", *scenario.needs] if not program(name)]
        if not missing:
            found.append(scenario)
        elif scenario.is_h2 and not options.scenario:
            print(f"{scenario.name} is left out: {', '.join(missing)} is not installed")
        else:
            raise BenchError(f"{', '.join(missing)} is not installed: run `make needs` "
                             "(h2load is in Debian's nghttp2-client)")
    return found


def cores_to_use():
    """A core for the proxies and one for everything else, or none to choose from."""
    there = sorted(os.sched_getaffinity(0))
    return (there[0], there[1]) if len(there) > 1 else (None, None)


def measure(stage, name, seconds, count):
    """One round: CPU is read right around the load, counters once everything is written."""
    server = stage.proxies[name]
    metric_before = stage.counted(name)
    cpu, began = server.cpu_s(), time.monotonic()
    seen = stage.load(name, seconds)
    cpu, wall = server.cpu_s() - cpu, time.monotonic() - began
    rss_kib = server.rss_kib()
    time.sleep(SETTLE_S)
    lines, size = stage.logged(name)
    count.client += seen.requests
    count.logged += lines
    count.log_bytes += size
    if metric_before is not None:
        count.metric = (count.metric or 0) + stage.counted(name) - metric_before
    if seen.requests == 0:
        where = f"{name} answered nothing in a round of {stage.scenario.name}"
        raise BenchError(f"{where}; the load generator said:\n{seen.said}")
    return report.Round(
        cpu_us=cpu * 1e6 / seen.requests, rps=seen.requests / seen.seconds, p50_us=seen.p50_us,
        p99_us=seen.p99_us, rss_kib=rss_kib, failed=seen.failed, busy=cpu / wall,
    )


def profile(stage, seconds):
    """Where yett spends its time: perf's report in bench/out/."""
    if not program("perf"):
        print("  no profile: perf is not installed")
        return
    data = BENCH / "out" / f"profile-{stage.scenario.name}.data"
    argv = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-g", "-o", str(data),
            "-p", str(stage.proxies["yett"].process.pid), "--", "sleep", str(seconds)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as perf:
        stage.load("yett", seconds + 1)
        said = perf.communicate()[1]
    if perf.returncode != 0:
        print(f"  no profile: perf says {said.strip()}")
        return
    done = subprocess.run(
        ["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none",
         "--percent-limit", "0.5"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    data.with_suffix(".txt").write_text(done.stdout)
    print(f"  profile: bench/out/{data.name} and {data.with_suffix('.txt').name}")


def run_scenario(scenario, options, cores, folder):
    """Rounds of each proxy in turn, the order alternating; and who counted what."""
    print(f"{scenario.name}: {scenario.about}", flush=True)
    folder.mkdir()
    # nginx started by root would run its worker as somebody else, unlike yett.
    user_line = "user root;" if os.geteuid() == 0 else ""
    stage = Stage(scenario, options.binary, cores, folder, user_line)
    try:
        stage.start()
        idle_kib = stage.proxies["yett"].rss_kib()
        names = list(stage.proxies)
        for name in names:
            stage.load(name, options.warm_up)
            time.sleep(SETTLE_S)
            stage.logged(name)
        rounds = {name: [] for name in names}
        counts = {name: report.Count(scenario.name, name, options.rounds, in_flight=IN_FLIGHT)
                  for name in names}
        for index in range(options.rounds):
            for name in names if index % 2 == 0 else reversed(names):
                found = measure(stage, name, options.seconds, counts[name])
                rounds[name].append(found)
                print(f"  {index + 1}/{options.rounds} {name:<6} {found.cpu_us:6.1f} µs CPU/request "
                      f"{found.rps:9,.0f} req/s  {found.failed} failed", flush=True)
        if options.profile:
            profile(stage, options.seconds)
        return rounds, list(counts.values()), idle_kib
    except BenchError:
        # That a server is gone explains more than what followed from it.
        stage.see_alive()
        raise
    finally:
        stage.stop()


def run(options, work):
    """The whole run; returns whether nothing failed and all counts agree."""
    scenarios, cores = chosen(options), cores_to_use()
    facts = report.facts(options.binary, cores, options)
    measured, counts, notes = {}, [], []
    for scenario in scenarios:
        rounds, counted, idle_kib = run_scenario(scenario, options, cores, work / scenario.name)
        measured[scenario.name] = rounds
        counts += counted
        notes.append(f"yett before any load of {scenario.name}: {idle_kib:,} KiB resident")
    table = report.table(measured)
    notes = facts + report.budgets(measured, scenarios) + [count.text() for count in counts] + notes
    print("\n" + report.plain_text(table) + "\n")
    print("\n".join(notes))
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
