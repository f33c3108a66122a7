"""A long list of addresses that are refused: the same ones for every proxy."""

import http.client
import ipaddress
import random

# A client that is refused; the others of a benchmark are 127.0.0.1.
REFUSED = "127.0.0.2"


def networks(count):
    """So many networks of different sizes, none of which holds another or a loopback address but one; the same in every run."""
    random.seed(11)
    found = set()
    while len(found) < count - 1:
        # Networks of 1,024 addresses apart, each a part of its own from a single address to all of it.
        start, prefix = random.randrange(1 << 22) << 10, random.choice((32, 32, 32, 28, 24, 22))
        if start >> 24 not in (0, 127) and start >> 28 < 14:
            found.add((start, prefix))
    apart = {start: prefix for start, prefix in sorted(found)}
    spare = (start for start in range(1 << 24, 1 << 31, 1 << 10) if start not in apart)
    while len(apart) < count - 1:
        apart[next(spare)] = 32
    return [f"{REFUSED}/32"] + [f"{ipaddress.ip_address(start)}/{prefix}" for start, prefix in sorted(apart.items())]


def write(count, plain, nginx):
    """One network a line, for yett and HAProxy; and as nginx wants them within `geo`."""
    found = networks(count)
    plain.write_text("".join(f"{network}\n" for network in found))
    nginx.write_text("".join(f"{network} 1;\n" for network in found))


def status(address, target, client):
    """What a client at another address gets."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10, source_address=(client, 0))
    connection.request("GET", target)
    answered = connection.getresponse().status
    connection.close()
    return answered
