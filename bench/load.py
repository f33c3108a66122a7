"""Load generators: closed loop, keep-alive; and what they report."""

import re
import subprocess
from dataclasses import dataclass

from servers import BenchError, pinned, program

IN_FLIGHT = 32
H2_CONNECTIONS = 4
UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000}


@dataclass
class Load:
    """One round as the client saw it."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    failed: int
    # The generator's own words, for when something is odd.
    said: str


def duration_us(text):
    """Reads `1.23ms`."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS_US[unit]


def call(argv, seconds, core):
    """Output of a load generator."""
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 30,
        preexec_fn=pinned(core),
    )
    if done.returncode != 0:
        raise BenchError(f"{argv[0]} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def number(pattern, text, default=None):
    found = re.search(pattern, text)
    if not found and default is None:
        raise BenchError(f"the load generator's report has no `{pattern}`:\n{text[-2000:]}")
    return found[1] if found else default


def wrk(url, headers, seconds, core, _folder):
    """HTTP/1.1: one thread, one request at a time on each of 32 connections."""
    argv = [program("wrk"), "-t1", f"-c{IN_FLIGHT}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    return read_wrk(call([*argv, url], seconds, core))


def read_wrk(text):
    total = re.search(r"(\d+) requests in ([\d.]+\w+),", text)
    if not total:
        raise BenchError(f"wrk's report has no total:\n{text[-2000:]}")
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    # wrk counts 4xx and 5xx here in spite of the name; no config of ours answers 3xx.
    refused = int(number(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    return Load(
        requests=int(total[1]),
        seconds=duration_us(total[2]) / 1e6,
        p50_us=duration_us(number(r"\n\s+50%\s+(\S+)", text)),
        p99_us=duration_us(number(r"\n\s+99%\s+(\S+)", text)),
        failed=refused + sum(map(int, broken.groups() if broken else ())),
        said=text,
    )


def h2load(url, headers, seconds, core, folder):
    """HTTP/2 without TLS by prior knowledge: 32 requests at a time over 4 connections."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    argv = [
        program("h2load"), "-t1", f"-c{H2_CONNECTIONS}", f"-m{IN_FLIGHT // H2_CONNECTIONS}",
        f"-D{seconds}", "--warm-up-time=0", f"--log-file={log}",
    ]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    text = call([*argv, url], seconds, core)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    log.unlink()
    return read_h2load(text, rows, seconds)


def read_h2load(text, rows, seconds):
    """`rows`: start, status and duration in µs of every request."""
    succeeded = int(number(r", (\d+) succeeded", text))
    durations = sorted(int(row[2]) for row in rows) or [0]
    return Load(
        requests=succeeded,
        seconds=seconds,
        p50_us=durations[len(durations) // 2],
        p99_us=durations[len(durations) * 99 // 100],
        failed=int(number(r", (\d+) failed", text)),
        said=text,
    )
