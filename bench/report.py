"""From rounds to rows: medians, spread, ratios; as a table, as JSON and as Markdown."""

import json
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from servers import program

# The work that ratios are told against.
BASE = "nginx"


@dataclass
class Round:
    """One round of one proxy."""

    cpu_us: float
    rps: float
    p50_us: float
    p99_us: float
    rss_kib: int
    failed: int
    busy: float


@dataclass
class Count:
    """One number told by everybody who counted: client, access log, metrics (yett only)."""

    scenario: str
    proxy: str
    rounds: int
    client: int = 0
    logged: int = 0
    log_bytes: int = 0
    metric: int = None
    in_flight: int = 32

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
        verdict = "agree" if self.agrees() else "DISAGREE"
        allowed = f"{verdict}: the ends of rounds cut off up to {self.rounds * self.in_flight}"
        return f"{', '.join(parts)} ({allowed}); {per_line:.0f} bytes a line"


def rows(measured):
    """The published rows; `measured`: scenario → proxy → rounds."""
    found = []
    for scenario, proxies in measured.items():
        for proxy, rounds in proxies.items():
            middle = {key: median(getattr(r, key) for r in rounds) for key in vars(rounds[0])}
            base = proxies.get(BASE)
            ratio = middle["cpu_us"] / median(r.cpu_us for r in base) if base else None
            found.append({
                "scenario": scenario,
                "proxy": proxy,
                "cpu_us_per_request": round(middle["cpu_us"], 2),
                "rps": round(middle["rps"]),
                "p50_us": round(middle["p50_us"]),
                "p99_us": round(middle["p99_us"]),
                "rss_kib": round(middle["rss_kib"]),
                "failed": sum(r.failed for r in rounds),
                "ratio_to_nginx": ratio and round(ratio, 3),
            })
    return found


def spread(values, digits=1):
    values = list(values)
    return f"{min(values):.{digits}f}..{max(values):.{digits}f}"


HEAD = ["scenario", "proxy", "CPU µs/request", "min..max", "to nginx", "min..max", "req/s", "p50 µs",
        "p99 µs", "RSS KiB", "busy", "failed"]


def table(measured):
    """Cells of the table, its head first."""
    lines = [HEAD]
    for row in rows(measured):
        proxies = measured[row["scenario"]]
        own, base = proxies[row["proxy"]], proxies.get(BASE, [])
        pairs = [a.cpu_us / b.cpu_us for a, b in zip(own, base)]
        lines.append([
            row["scenario"], row["proxy"], f"{row['cpu_us_per_request']:.1f}",
            spread(r.cpu_us for r in own),
            "-" if row["ratio_to_nginx"] is None else f"{row['ratio_to_nginx']:.2f}",
            spread(pairs, 2) if pairs else "-",
            f"{row['rps']:,}", f"{row['p50_us']:,}", f"{row['p99_us']:,}", f"{row['rss_kib']:,}",
            f"{median(r.busy for r in own):.0%}", str(row["failed"]),
        ])
    return lines


def budgets(measured, scenarios):
    """Sentences on yett's CPU per request against what it may cost."""
    cpu = {(row["scenario"], row["proxy"]): row["cpu_us_per_request"] for row in rows(measured)}
    found = []
    for scenario in scenarios:
        own, base = cpu.get((scenario.name, "yett")), cpu.get((scenario.budget_base, BASE))
        if own and base:
            first, goal = scenario.budget
            ratio = own / base
            verdict = "within" if ratio <= first else "over"
            found.append(f"{scenario.name}: {ratio:.2f} of nginx doing `{scenario.budget_base}`; "
                         f"{verdict} the budget of {first:.2f} (goal {goal:.2f})")
    return found


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


def facts(binary, cores, options):
    """What the numbers depend on, as lines; names no host and no path."""
    root = Path(__file__).parent.parent
    revision = output_of("git", "describe", "--always", "--dirty", "--exclude=*", cwd=root)
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    found = re.search(r"nginx/(\S+)", output_of(program("nginx"), "-v"))
    placement = "nothing: one core does everything, so only CPU per request says something"
    if cores[0] is not None:
        placement = f"proxies to core {cores[0]}; backend and load generator to core {cores[1]}"
    return [
        f"machine: {cores_there()} cores, {model[1] if model else platform.machine()}, "
        f"{int(memory[1]) >> 20 if memory else '?'} GiB, Linux {platform.release()}",
        f"versions: {output_of(binary, '--version')} (revision {revision or 'unknown'}), "
        f"nginx {found[1] if found else '?'}, {output_of('wrk', '-v').split(' [')[0]}",
        f"load: 32 requests in flight, keep-alive, closed loop, answers of 400 bytes; {options.rounds} × "
        f"{options.seconds} s after {options.warm_up} s of warm-up, proxies in turn",
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
    text = f"{about}\n\n{markdown(table(measured))}\n\n{listed}\n"
    (folder / "latest.md").write_text(text)
