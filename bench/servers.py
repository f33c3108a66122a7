"""Processes of a benchmark: started on free ports from templates, pinned, watched and stopped."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something the person at the terminal has to know; ends the run."""


def program(name):
    """Path of an installed program, or None. Debian keeps servers outside of some users' PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def free_addresses(count):
    """That many loopback addresses with distinct ports nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def fill(template, values, target):
    """Writes a config from a template; every `@name@` must have a value."""
    text = (CONFIGS / template).read_text()
    target.write_text(re.sub(r"@([a-z0-9_]+)@", lambda found: str(values[found[1]]), text))


def pinned(core):
    """What a child does before it runs: stay on one core, and away from our ctrl-C."""
    def prepare():
        os.setsid()
        if core is not None:
            os.sched_setaffinity(0, {core})
    return prepare


def is_there(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


class Server:
    """A running server and its children. `log`: the file its standard output is appended to, if any."""

    def __init__(self, name, argv, address, core, folder, log=None):
        self.name, self.address = name, address
        self.output = folder / f"{name}.output"
        with open(self.output, "ab") as output, open(log or self.output, "ab") as lines:
            self.process = subprocess.Popen(
                argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=lines, stderr=output,
                preexec_fn=pinned(core),
            )

    def wait_until_ready(self):
        """Returns once the address accepts connections."""
        limit = time.monotonic() + START_TIMEOUT_S
        while not is_there(self.address):
            self.see_alive()
            if time.monotonic() > limit:
                raise BenchError(f"{self.name} does not accept connections; it said:\n{self.said()}")
            time.sleep(0.05)

    def said(self):
        """The end of what it wrote to its outputs."""
        return self.output.read_text(errors="replace")[-2000:]

    def see_alive(self):
        """Fails if the process has ended."""
        code = self.process.poll()
        if code is not None:
            how = f"signal {-code}" if code < 0 else f"code {code}"
            raise BenchError(f"{self.name} ended with {how}; it said:\n{self.said()}")

    def stop(self):
        """Asks the process to end, and ends it with its children if it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def pids(self):
        """The process and everything below it."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := stat(entry)):
                parents[int(entry)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu_s(self):
        """User and system time so far, of the process, its children and those that ended."""
        ticks = 0
        for pid in self.pids():
            if fields := stat(pid):
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICKS_PER_S

    def rss_kib(self):
        """Resident memory; pages that processes share are counted in each."""
        return sum(resident_kib(pid) for pid in self.pids())


def stat(pid):
    """Fields of /proc/PID/stat from the state on (field 3 of proc(5)), or None if it ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name before stands in parentheses, and may itself contain anything.
    return text.rpartition(")")[2].split()


def resident_kib(pid):
    """Resident memory of a process; 0 if it ended."""
    # The first is exact; the second is what is left where the first may not be read.
    for file, pattern in ("smaps_rollup", r"^Rss:\s+(\d+) kB"), ("status", r"^VmRSS:\s+(\d+) kB"):
        try:
            text = Path(f"/proc/{pid}/{file}").read_text()
        except OSError:
            continue
        if found := re.search(pattern, text, re.M):
            return int(found[1])
    return 0
