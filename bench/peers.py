"""The proxies: how each is found, started in the foreground, and asked for its version."""

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from servers import BenchError, program

# What is measured, and the work that ratios are told against; both take part in every run.
SUBJECT, BASE = "yett", "nginx"
# How long a change of the config may take.
RELOAD_TIMEOUT_S = 20
# Where scripts/bench-needs.sh puts Envoy.
ENVOY = "out/envoy-*/bin/envoy"


@dataclass(frozen=True)
class Peer:
    """A proxy. `argv`: from its program, its config and its folder."""

    find: callable
    argv: callable
    # The argument that makes it tell its version, and where that stands in what it says.
    version: tuple
    # Name of its config file; Envoy tells the format by the suffix.
    config: str
    # Whether its access log is what it writes to its standard output.
    logs_to_output: bool = False
    # Has it take up a changed config, and waits until it has; None: it cannot do so in place.
    reload: callable = None
    # Whether it tells the backend an address of the machine's own where the client's is on loopback.
    hides_loopback: bool = False


def nginx_argv(path, config, folder):
    # `-e`: before the config is read, errors would go to a file of the system's.
    return [path, "-p", str(folder), "-c", str(config), "-e", "stderr"]


def yett_argv(path, config, _folder):
    return [path, "run", "--log", "warn", str(config)]


def reload_yett(stage, server):
    """By signal, until its metrics say that one more was adopted; it may have noticed the change by itself."""
    before = stage.reloads()
    server.process.send_signal(signal.SIGHUP)
    wait(server, lambda: stage.reloads() > before)


def reload_nginx(_stage, server):
    """By signal, until there is a worker that was not there."""
    before = set(server.pids())
    server.process.send_signal(signal.SIGHUP)
    wait(server, lambda: set(server.pids()) - before)


def wait(server, is_done):
    limit = time.monotonic() + RELOAD_TIMEOUT_S
    while not is_done():
        server.see_alive()
        if time.monotonic() > limit:
            raise BenchError(f"{server.name} does not take up a change; it said:\n{server.said()}")
        time.sleep(0.002)


def haproxy_argv(path, config, _folder):
    return [path, "-db", "-f", str(config)]


def envoy_argv(path, config, _folder):
    # One worker; the access log is flushed like nginx's: at 64 KiB, or after a second.
    return [path, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
            "--file-flush-interval-msec", "1000", "--file-flush-min-size-kb", "64"]


def find_envoy():
    found = sorted(Path(__file__).resolve().parent.glob(ENVOY))
    return str(found[-1]) if found else program("envoy")


# In the order of the table. A peer takes part in the scenarios it has a template for.
PEERS = {
    "nginx": Peer(lambda: program("nginx"), nginx_argv, ("-v", r"nginx/(\S+)"), "nginx.conf",
                  reload=reload_nginx),
    "yett": Peer(lambda: None, yett_argv, ("--version", r"yett (\S+)"), "yett.yaml",
                 reload=reload_yett),
    "haproxy": Peer(lambda: program("haproxy"), haproxy_argv, ("-v", r"version (\S+)"), "haproxy.cfg",
                    logs_to_output=True),
    "envoy": Peer(find_envoy, envoy_argv, ("--version", r"/(\d+\.\d+\.\d+)/"), "envoy.yaml",
                  hides_loopback=True),
}


def version(name, path):
    """The version a program tells of itself, or None if it cannot be run."""
    argument, pattern = PEERS[name].version
    try:
        done = subprocess.run([path, argument], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return None
    found = re.search(pattern, done.stdout)
    return found[1] if found and done.returncode == 0 else None
