"""From rounds to rows: medians, spread, ratios; as a table, as JSON and as Markdown."""

import json
import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from peers import BASE, SUBJECT
from scenarios import IDLE_BUDGET_BYTES, Scenario


@dataclass
class Round:
    """One round of one proxy. Rounds of one index stood side by side."""

    index: int
    cpu_us: float
    rps: float
    # Bodies of requests and answers.
    mb_per_s: float
    p50_us: float
    p99_us: float
    rss_kib: int
    failed: int
    busy: float


@dataclass
class Idle:
    """Memory of a proxy before and with idle connections."""

    proxy: str
    connections: int
    before_kib: int
    after_kib: int
    failed: int

    @property
    def bytes_each(self):
        return (self.after_kib - self.before_kib) * 1024 / self.connections


@dataclass
class Tokens:
    """Memory of a proxy before and with tokens that it remembers: the first ones, and more."""

    proxy: str
    first: int
    more: int
    before_kib: int
    first_kib: int
    all_kib: int

    @property
    def bytes_first(self):
        return (self.first_kib - self.before_kib) * 1024 / self.first

    @property
    def bytes_more(self):
        return (self.all_kib - self.first_kib) * 1024 / self.more


@dataclass
class Storm:
    """Changes of the config under load."""

    proxy: str
    reloads: int
    seconds: float
    requests: int
    failed: int
    p99_us: float
    before_kib: int
    after_kib: int


@dataclass
class Overload:
    """What became of requests when far more came than could be answered: the phases of `open_loop.py`."""

    proxy: str
    phases: dict

    @property
    def goodput(self):
        return self.phases["overload"]["goodput"]

    @property
    def peak(self):
        return max(phase["goodput"] for phase in self.phases.values())

    @property
    def p99_ms(self):
        return self.phases["overload"]["p99_ms"]["gold"]

    @property
    def unloaded_ms(self):
        return self.phases["unloaded"]["p99_ms"]["gold"]

    def share(self, phase, who):
        """Answered requests of those that were sent."""
        seen = self.phases[phase]
        answered = seen["answered"][who]
        return answered / max(1, answered + seen["shed"][who] + seen["failed"][who])

    @property
    def after(self):
        """The share that is answered as soon as the load has ended."""
        return min(self.share("after", who) for who in ("gold", "tin"))

    @property
    def is_good(self):
        soon = self.p99_ms is not None and self.unloaded_ms is not None and self.p99_ms <= 2 * self.unloaded_ms
        return self.goodput >= 0.9 * self.peak and soon and self.after >= 0.99


@dataclass
class Count:
    """One number told by everybody who counted: client, access log, metrics (yett only)."""

    scenario: str
    proxy: str
    # Requests under way when a round ends, at most.
    in_flight: int
    rounds: int = 0
    client: int = 0
    logged: int = 0
    log_bytes: int = 0
    metric: int = None

    def add(self, counts):
        """Takes in what `Stage.counts` found."""
        lines, size, requests = counts
        self.logged += lines
        self.log_bytes += size
        if requests is not None:
            self.metric = (self.metric or 0) + requests

    def agrees(self):
        """Whether nothing is missing, and not more is there than was under way at the ends."""
        others = [self.logged] + ([] if self.metric is None else [self.metric])
        return all(0 <= other - self.client <= self.rounds * self.in_flight for other in others)

    def text(self):
        parts = [f"{self.scenario}, {self.proxy}: client {self.client:,}"]
        if self.metric is not None:
            parts.append(f"metrics {self.metric - self.client:+,}")
        parts.append(f"access log {self.logged - self.client:+,}")
        per_line = self.log_bytes / max(self.logged, 1)
        agreement = "agree" if self.agrees() else "DISAGREE"
        allowed = f"{agreement}: the ends of rounds cut off up to {self.rounds * self.in_flight}"
        return f"{', '.join(parts)} ({allowed}); {per_line:.0f} bytes a line"


@dataclass
class Measured:
    """What was found in a scenario: rounds of each proxy, or what idle connections cost each."""

    scenario: Scenario
    rounds: dict
    idle: list
    counts: list
    # Memory of yett before any load.
    fresh_kib: int
    storms: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    overloads: list = field(default_factory=list)


def beside(own, base):
    """The rounds of `base` that stood beside those of `own`."""
    found = {r.index: r for r in base}
    return [found[r.index] for r in own if r.index in found]


def rows(measured):
    """The published rows; what a scenario does not measure is None."""
    found = []
    for scenario in measured:
        for proxy, rounds in scenario.rounds.items():
            middle = {key: median(getattr(r, key) for r in rounds) for key in vars(rounds[0])}
            base = beside(rounds, scenario.rounds.get(BASE, []))
            ratio = middle["cpu_us"] / median(r.cpu_us for r in base) if base else None
            found.append({
                "scenario": scenario.scenario.name,
                "proxy": proxy,
                "cpu_us_per_request": round(middle["cpu_us"], 2),
                "rps": round(middle["rps"]),
                "mb_per_s": round(middle["mb_per_s"], 1),
                "p50_us": round(middle["p50_us"]),
                "p99_us": round(middle["p99_us"]),
                "rss_kib": round(middle["rss_kib"]),
                "bytes_per_idle_connection": None,
                "failed": sum(r.failed for r in rounds),
                "ratio_to_nginx": ratio and round(ratio, 3),
            })
        for idle in scenario.idle:
            nothing = dict.fromkeys(["cpu_us_per_request", "rps", "mb_per_s", "p50_us", "p99_us"])
            found.append({
                "scenario": scenario.scenario.name,
                "proxy": idle.proxy,
                **nothing,
                "rss_kib": idle.after_kib,
                "bytes_per_idle_connection": round(idle.bytes_each),
                "failed": idle.failed,
                "ratio_to_nginx": None,
            })
        for kept in scenario.tokens:
            found.append({
                "scenario": scenario.scenario.name,
                "proxy": kept.proxy,
                "cpu_us_per_request": None,
                "rps": None,
                "mb_per_s": None,
                "p50_us": None,
                "p99_us": None,
                "rss_kib": kept.all_kib,
                "bytes_per_idle_connection": None,
                "bytes_per_token": round(kept.bytes_more),
                "failed": 0,
                "ratio_to_nginx": None,
            })
        for seen in scenario.overloads:
            found.append({
                "scenario": scenario.scenario.name,
                "proxy": seen.proxy,
                "cpu_us_per_request": None,
                "rps": round(seen.goodput),
                "mb_per_s": None,
                "p50_us": None,
                "p99_us": seen.p99_ms and round(seen.p99_ms * 1e3),
                "rss_kib": None,
                "bytes_per_idle_connection": None,
                "goodput_to_peak": round(seen.goodput / max(seen.peak, 1), 3),
                "p99_to_unloaded": seen.p99_ms and seen.unloaded_ms and round(seen.p99_ms / seen.unloaded_ms, 2),
                # What is refused is what this is about.
                "failed": 0,
                "ratio_to_nginx": None,
            })
        for storm in scenario.storms:
            found.append({
                "scenario": scenario.scenario.name,
                "proxy": storm.proxy,
                "cpu_us_per_request": None,
                "rps": round(storm.requests / storm.seconds),
                "mb_per_s": None,
                "p50_us": None,
                "p99_us": round(storm.p99_us),
                "rss_kib": storm.after_kib,
                "bytes_per_idle_connection": None,
                "failed": storm.failed,
                "ratio_to_nginx": None,
            })
    return found


def spread(values, digits=1):
    values = list(values)
    return f"{min(values):.{digits}f}..{max(values):.{digits}f}"


HEAD = ["scenario", "proxy", "CPU µs/request", "min..max", "to nginx", "min..max", "req/s", "MB/s", "p50 µs",
        "p99 µs", "RSS KiB", "busy", "failed"]
IDLE_HEAD = ["scenario", "proxy", "connections", "RSS KiB before", "RSS KiB with them", "bytes/connection", "failed"]

TOKENS_HEAD = ["scenario", "proxy", "tokens", "RSS KiB before", "RSS KiB with them", "bytes/token", "further tokens",
               "RSS KiB with all", "bytes/further token"]
OVERLOAD_HEAD = ["scenario", "proxy", "answers/s", "at its peak", "ratio", "p99 ms of the highest priority", "without load",
                 "answered: high", "normal", "low", "right after"]
STORM_HEAD = ["scenario", "proxy", "changes", "seconds", "requests", "p99 µs", "RSS KiB before", "RSS KiB after",
              "failed"]


def table(measured):
    """Cells of the table of rounds, its head first."""
    rounds = {(m.scenario.name, proxy): (own, m.rounds.get(BASE, []))
              for m in measured for proxy, own in m.rounds.items()}
    lines = [HEAD]
    for row in rows(measured):
        if row["cpu_us_per_request"] is None:
            continue
        own, base = rounds[row["scenario"], row["proxy"]]
        pairs = [a.cpu_us / b.cpu_us for a, b in zip(own, beside(own, base))]
        lines.append([
            row["scenario"], row["proxy"], f"{row['cpu_us_per_request']:.1f}",
            spread(r.cpu_us for r in own),
            "-" if row["ratio_to_nginx"] is None else f"{row['ratio_to_nginx']:.2f}",
            spread(pairs, 2) if pairs else "-",
            f"{row['rps']:,}", f"{row['mb_per_s']:,.0f}", f"{row['p50_us']:,}", f"{row['p99_us']:,}",
            f"{row['rss_kib']:,}", f"{median(r.busy for r in own):.0%}", str(row["failed"]),
        ])
    return lines


def idle_table(measured):
    """Cells of the table of idle connections, its head first."""
    return [IDLE_HEAD] + [
        [m.scenario.name, idle.proxy, f"{idle.connections:,}", f"{idle.before_kib:,}", f"{idle.after_kib:,}",
         f"{idle.bytes_each:,.0f}", str(idle.failed)]
        for m in measured for idle in m.idle
    ]


def tokens_table(measured):
    """Cells of the table of tokens that are remembered, its head first."""
    return [TOKENS_HEAD] + [
        [m.scenario.name, kept.proxy, f"{kept.first:,}", f"{kept.before_kib:,}", f"{kept.first_kib:,}",
         f"{kept.bytes_first:,.0f}", f"{kept.more:,}", f"{kept.all_kib:,}", f"{kept.bytes_more:,.0f}"]
        for m in measured for kept in m.tokens
    ]


def storm_table(measured):
    """Cells of the table of changes under load, its head first."""
    return [STORM_HEAD] + [
        [m.scenario.name, storm.proxy, f"{storm.reloads:,}", f"{storm.seconds:.1f}", f"{storm.requests:,}",
         f"{storm.p99_us:,.0f}", f"{storm.before_kib:,}", f"{storm.after_kib:,}", str(storm.failed)]
        for m in measured for storm in m.storms
    ]


def overload_table(measured):
    """Cells of the table of overload, its head first."""
    def ms(number):
        return "-" if number is None else f"{number:,.1f}"
    return [OVERLOAD_HEAD] + [
        [m.scenario.name, seen.proxy, f"{seen.goodput:,.0f}", f"{seen.peak:,.0f}",
         f"{seen.goodput / max(seen.peak, 1):.0%}", ms(seen.p99_ms), ms(seen.unloaded_ms),
         *(f"{seen.share('overload', who):.0%}" for who in ("gold", "silver", "tin")), f"{seen.after:.0%}"]
        for m in measured for seen in m.overloads
    ]


def tables(measured):
    """Those tables that have rows."""
    all_tables = (table(measured), idle_table(measured), tokens_table(measured), storm_table(measured),
                  overload_table(measured))
    return [lines for lines in all_tables if len(lines) > 1]


def budgets(measured):
    """Sentences on what yett costs against what it may cost."""
    cpu = {(row["scenario"], row["proxy"]): row["cpu_us_per_request"] for row in rows(measured)}
    found = []
    for scenario in (m.scenario for m in measured):
        own, base = cpu.get((scenario.name, SUBJECT)), cpu.get((scenario.budget_base, BASE))
        if scenario.budget and own and base:
            first, goal = scenario.budget
            ratio = own / base
            found.append(f"{scenario.name}: {ratio:.2f} of nginx doing `{scenario.budget_base}`; "
                         f"{verdict(ratio <= first)} the budget of {first:.2f} (goal {goal:.2f})")
    for m in measured:
        found += [f"{m.scenario.name}: {idle.bytes_each:,.0f} bytes per connection; "
                  f"{verdict(idle.bytes_each <= IDLE_BUDGET_BYTES)} the budget of {IDLE_BUDGET_BYTES:,}"
                  for idle in m.idle if idle.proxy == SUBJECT]
        found += [f"{m.scenario.name}: {seen.goodput / max(seen.peak, 1):.0%} of its peak, p99 of the highest priority "
                  f"{(seen.p99_ms or 0) / (seen.unloaded_ms or 1):.2f} times that without load, {seen.after:.0%} answered "
                  f"right after; {verdict(seen.is_good)} what is promised (90%, 2, 99%)"
                  for seen in m.overloads if seen.proxy == SUBJECT]
    return found


def verdict(is_good):
    return "within" if is_good else "over"


def plain_text(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    def row(cells):
        pairs = list(zip(cells, widths))
        return "  ".join([c.ljust(w) for c, w in pairs[:2]] + [c.rjust(w) for c, w in pairs[2:]])
    return "\n".join(row(cells) for cells in lines)


def markdown(lines):
    rule = ["---", "---"] + ["---:"] * (len(lines[0]) - 2)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])


def output_of(*argv, cwd=None):
    try:
        done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 or argv[0] == "wrk" else ""


def facts(binary, versions, cores, options):
    """What the numbers depend on, as lines; names no host and no path."""
    root = Path(__file__).parent.parent
    revision = output_of("git", "describe", "--always", "--dirty", "--exclude=*", cwd=root)
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    others = "".join(f"{name} {version}, " for name, version in versions.items() if name != SUBJECT)
    placement = "nothing: one core does everything, so only CPU per request says something"
    if cores[0] is not None:
        placement = f"proxies to core {cores[0]}; backend and load generator to core {cores[1]}"
    return [
        f"machine: {cores_there()} cores, {model[1] if model else platform.machine()}, "
        f"{int(memory[1]) >> 20 if memory else '?'} GiB, Linux {platform.release()}",
        f"versions: {output_of(binary, '--version')} (revision {revision or 'unknown'}), "
        f"{others}{output_of('wrk', '-v').split(' [')[0]}",
        "load: keep-alive, closed loop; 32 requests in flight and answers of 400 bytes where the scenario does not "
        f"say otherwise; {options.rounds} × {options.seconds} s after {options.warm_up} s of warm-up "
        f"({options.peer_rounds} × for peers other than nginx), proxies in turn",
        f"pinned: {placement}",
        "CPU: user and system time of the proxy's processes; median of the rounds, and the spread over them",
    ]


def cores_there():
    return sum(1 for _ in re.finditer(r"^processor\s*:", Path("/proc/cpuinfo").read_text(), re.M))


def write(folder, measured, notes):
    """Writes `latest.json` and `latest.md`."""
    folder.mkdir(exist_ok=True)
    lines = ",\n".join("  " + json.dumps(row) for row in rows(measured))
    (folder / "latest.json").write_text(f"[\n{lines}\n]\n")
    listed = "\n".join(f"- {note}" for note in notes)
    about = "# Benchmark\n\nMade by `make bench`; `bench/README.md` says how to read it."
    shown = "\n\n".join(markdown(lines) for lines in tables(measured))
    (folder / "latest.md").write_text(f"{about}\n\n{shown}\n\n{listed}\n")
