"""One scenario measured: rounds of the proxies in turn, or the memory of idle connections."""

import subprocess
import time
from pathlib import Path

import report
from load import IdleConnections, Storm, open_loop
from peers import BASE, PEERS, SUBJECT
from servers import BenchError, program
from stage import Stage

OUT = Path(__file__).resolve().parent / "out"
# How late requests may be sent, and how long a backend that was overrun rests.
OVERLOAD_LATE_MS, OVERLOAD_REST_S = 20, 15
# Enough to fill every buffer of an access log once.
WARM_UP_REQUESTS = 2_000


def run_scenario(scenario, programs, options, cores, folder):
    """What `report.Measured` holds of a scenario."""
    print(f"{scenario.name}: {scenario.about}", flush=True)
    folder.mkdir()
    stage = Stage(scenario, programs, cores, folder)
    try:
        stage.start()
        fresh_kib = stage.proxies[SUBJECT].rss_kib()
        if scenario.is_idle:
            return measure_idle(stage, fresh_kib)
        if scenario.overload:
            return measure_overload(stage, options, fresh_kib)
        if scenario.reloads:
            return measure_reloads(stage, fresh_kib)
        if scenario.tokens_more:
            return measure_tokens(stage, fresh_kib)
        return measure_rounds(stage, options, fresh_kib)
    except BenchError:
        # That a server is gone explains more than what followed from it.
        stage.see_alive()
        raise
    finally:
        stage.stop()


def measure_rounds(stage, options, fresh_kib):
    """Rounds of each proxy in turn, the order alternating; and who counted what."""
    scenario, names = stage.scenario, list(stage.proxies)
    for name in names:
        if stage.tokens and not scenario.is_cold:
            stage.show(name, stage.tokens)
        stage.load(name, options.warm_up)
    is_counted = not scenario.is_websocket
    for name in names if is_counted else []:
        stage.verify_log(name)
        stage.counts(name)
    rounds = {name: [] for name in names}
    counts = {name: report.Count(scenario.name, name, scenario.connections) for name in names}
    for index in range(options.rounds):
        for name in names if index % 2 == 0 else reversed(names):
            if not takes_part(name, index, options):
                continue
            # The counts of its last round: it has had the rounds of the others to write them.
            if is_counted:
                counts[name].add(stage.counts(name))
            found = measure(stage, name, options.seconds, index, counts[name])
            rounds[name].append(found)
            print(f"  {index + 1}/{options.rounds} {name:<7} {found.cpu_us:7.1f} µs CPU/request "
                  f"{found.rps:9,.0f} req/s  {found.failed} failed", flush=True)
    for name in names if is_counted else []:
        counts[name].add(stage.counts(name))
    if options.profile:
        profile(stage, options.seconds)
    if SUBJECT in names:
        stage.verify_asked()
    counts = list(counts.values()) if is_counted else []
    return report.Measured(scenario, rounds, [], counts, fresh_kib)


def takes_part(name, index, options):
    """Whether a proxy has a turn in this round: the first `peer_rounds` of further peers, spread evenly."""
    if name in (BASE, SUBJECT):
        return True
    turn, turn_before = ((i * options.peer_rounds) // options.rounds for i in (index, index - 1))
    return turn != turn_before


def measure(stage, name, seconds, index, count):
    """One round: CPU is read right around the load."""
    server = stage.proxies[name]
    cpu, began = server.cpu_s(), time.monotonic()
    seen = stage.load(name, seconds)
    cpu, wall = server.cpu_s() - cpu, time.monotonic() - began
    count.client += seen.requests - seen.missed
    count.rounds += 1
    if seen.requests == 0:
        where = f"{name} answered nothing in a round of {stage.scenario.name}"
        raise BenchError(f"{where}; the load generator said:\n{seen.said}")
    payload = stage.scenario.body_bytes + stage.scenario.post_bytes
    rps = seen.requests / seen.seconds
    return report.Round(
        index=index, cpu_us=cpu * 1e6 / seen.requests, rps=rps, mb_per_s=rps * payload / 1e6,
        p50_us=seen.p50_us, p99_us=seen.p99_us, rss_kib=server.rss_kib(), failed=seen.failed,
        busy=cpu / wall,
    )


def measure_reloads(stage, fresh_kib):
    """Changes of the config, one after the other, while clients go on asking."""
    scenario, storms = stage.scenario, []
    for name in (n for n in stage.proxies if PEERS[n].reload):
        server, config = stage.proxies[name], stage.folder / PEERS[name].config
        stage.load(name, 1)
        before_kib, text = server.rss_kib(), config.read_text()
        storm, began = Storm(stage.order(name, 0)), time.monotonic()
        for number in range(scenario.reloads):
            config.write_text(f"{text}# change {number}\n")
            PEERS[name].reload(stage, server)
        took, seen = time.monotonic() - began, storm.end()
        # What is left behind by the last changes goes with its last connections.
        stage.quieten(name)
        stage.await_quiet(name)
        found = report.Storm(name, scenario.reloads, took, seen.requests, seen.failed, seen.p99_us, before_kib,
                             server.rss_kib())
        storms.append(found)
        print(f"  {name:<7} {found.reloads} changes in {took:.1f} s, {found.failed} of {found.requests:,} failed",
              flush=True)
    return report.Measured(scenario, {}, [], [], fresh_kib, storms)


def measure_overload(stage, options, fresh_kib):
    """Far more requests than the backend can work on, one proxy after the other."""
    scenario, overloads = stage.scenario, []
    for name in stage.proxies:
        # Nobody waits longer than that for an answer.
        patience_s = max(1, scenario.service_ms / 100)
        order = stage.order(name, options.seconds)
        phases = open_loop(order, scenario.capacity, scenario.overload, patience_s)
        found = report.Overload(name, phases)
        overloads.append(found)
        print(f"  {name:<7} {found.goodput:,.0f} answers/s under overload, {found.peak:,.0f} at its peak; p99 of the "
              f"highest priority {found.p99_ms or 0:,.1f} ms, {found.unloaded_ms or 0:,.1f} without load", flush=True)
        if phases["overload"]["late_p99_ms"] > OVERLOAD_LATE_MS:
            print(f"  {name:<7} the load came up to {phases['overload']['late_p99_ms']} ms late: this machine is too slow "
                  "for it (`--slower`)", flush=True)
        # What it has left for the backend to do is not the next one's burden.
        time.sleep(OVERLOAD_REST_S)
    return report.Measured(scenario, {}, [], [], fresh_kib, overloads=overloads)


def measure_idle(stage, fresh_kib):
    """Memory before and with the connections, one proxy after the other; and who counted what."""
    scenario, idle, counts = stage.scenario, [], []
    for name, server in stage.proxies.items():
        # Without it, what a proxy makes for its first requests would be charged to the connections.
        warm_up = IdleConnections(stage.listen[name], scenario.target, 1, scenario.is_tls)
        for _ in range(WARM_UP_REQUESTS):
            warm_up.ask(warm_up.sockets[0])
        warm_up.close()
        stage.quieten(name)
        stage.verify_log(name)
        stage.counts(name)
        before_kib = server.rss_kib()
        opened = IdleConnections(stage.listen[name], scenario.target, scenario.connections, scenario.is_tls)
        stage.quieten(name)
        # Buffers that are given back after the answer have gone when its counts are read.
        count = report.Count(scenario.name, name, in_flight=0,
                             client=scenario.connections - opened.failed)
        count.add(stage.counts(name))
        after_kib, closed = server.rss_kib(), opened.closed()
        opened.close()
        if closed:
            raise BenchError(f"{name} closed {closed} of {scenario.connections} idle connections")
        found = report.Idle(name, scenario.connections, before_kib, after_kib, opened.failed)
        idle.append(found)
        counts.append(count)
        print(f"  {name:<7} {found.bytes_each:9,.0f} bytes/connection  {found.failed} failed", flush=True)
    return report.Measured(scenario, {}, idle, counts, fresh_kib)


def measure_tokens(stage, fresh_kib):
    """Memory of tokens that a proxy remembers, one proxy after the other."""
    scenario, found = stage.scenario, []
    for name in (n for n in stage.proxies if stage.identifies(n)):
        # So that nothing that is made once is charged to the tokens.
        stage.show(name, stage.tokens[:1] * WARM_UP_REQUESTS)
        kib = []
        for tokens in ([], stage.tokens[:scenario.tokens], stage.tokens[scenario.tokens:]):
            if tokens:
                stage.show(name, tokens)
            stage.await_quiet(name)
            kib.append(stage.proxies[name].rss_kib())
        kept = report.Tokens(name, scenario.tokens, scenario.tokens_more, *kib)
        found.append(kept)
        print(f"  {name:<7} {kept.bytes_first:9,.0f} bytes/token, {kept.bytes_more:9,.0f} of further ones", flush=True)
    stage.verify_asked()
    return report.Measured(scenario, {}, [], [], fresh_kib, tokens=found)


def profile(stage, seconds):
    """Where yett spends its time: perf's report in bench/out/."""
    if not program("perf"):
        print("  no profile: perf is not installed")
        return
    data = OUT / f"profile-{stage.scenario.name}.data"
    argv = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-g", "-o", str(data),
            "-p", str(stage.proxies[SUBJECT].process.pid), "--", "sleep", str(seconds)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as perf:
        stage.load(SUBJECT, seconds + 1)
        said = perf.communicate()[1]
    if perf.returncode != 0:
        print(f"  no profile: perf says {said.strip()}")
        return
    done = subprocess.run(
        ["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none",
         "--percent-limit", "0.5"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    data.with_suffix(".txt").write_text(done.stdout)
    print(f"  profile: bench/out/{data.name} and {data.with_suffix('.txt').name}")
