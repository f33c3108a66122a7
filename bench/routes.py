"""Many routes: the same ones for every proxy, and requests drawn evenly from them."""

import random

HOSTS = 100
DRAWS = 20_000
# One in so many requests finds no route, and one in so many routes is a regular expression.
MISS_EVERY, REGEX_EVERY = 10, 10


def host(number):
    return f"h{number % HOSTS}.example.com"


def kind(number):
    """A tenth are regular expressions, half have a parameter, the rest are plain."""
    spot = number // HOSTS
    if spot % REGEX_EVERY == REGEX_EVERY - 1:
        return "regex"
    return "parameter" if spot % 2 else "plain"


def draws(count):
    """Host and path of each request; the same in every run."""
    random.seed(7)
    found = []
    for at in range(DRAWS):
        number = random.randrange(count)
        paths = {
            "plain": f"/orders/r{number}/list",
            "parameter": f"/orders/r{number}/{at}/items",
            "regex": f"/orders/r{number}/v{at % 1000}",
        }
        path = f"/missing/{number}" if at % MISS_EVERY == 0 else paths[kind(number)]
        found.append((host(number), path))
    return found


def by_host(count):
    hosts = {}
    for number in range(count):
        hosts.setdefault(host(number), []).append(number)
    return hosts.items()


def yett(count):
    """The `apis` of a config of ours."""
    forms = {"plain": "GET /orders/r{0}/list", "parameter": "GET /orders/r{0}/{{id}}/items",
             "regex": "GET ~ /orders/r{0}/v[0-9]+"}
    lines = []
    for name, numbers in by_host(count):
        lines.append(f"  {name.replace('.', '-')}:\n    public: a benchmark on loopback\n    hosts: [{name}]\n"
                     "    upstream: orders\n    routes:")
        for number in numbers:
            form = forms[kind(number)].format(number)
            lines.append(f'      - "{form}"')
    return "\n".join(lines)


def nginx(count):
    """The servers of nginx; `@listen@` is filled in later."""
    forms = {"plain": "location = /orders/r{0}/list", "parameter": "location ~ ^/orders/r{0}/[^/]+/items$",
             "regex": "location ~ ^/orders/r{0}/v[0-9]+$"}
    lines = []
    for name, numbers in by_host(count):
        lines.append(f"server {{ listen @listen@; server_name {name}; location / {{ return 404; }}")
        lines += [f"  {forms[kind(number)].format(number)} {{ include @dir@/proxy.conf; }}" for number in numbers]
        lines.append("}")
    return "\n".join(lines)


TABLES = {"yett": yett, "nginx": nginx}
