"""How a client is told what to ask, and tells what it got: a line of JSON each, on standard input and output."""

import hashlib
import json
import sys

# How long a client waits for anything, in seconds.
PATIENCE_S = 30
# Bodies longer than this are told by their digest only.
TEXT_MAX = 8 * 1024
PIECE = 64 * 1024
# So much of a body is sent by a client that then leaves: less than what fits on the way.
BEGINNING = 2 * PIECE


def listen(perform):
    """Answers every order by `perform`, until there are no more."""
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        try:
            found = perform(order)
        except Exception as fault:  # Whatever it is, the test wants to know.
            found = {"error": f"{type(fault).__name__}: {fault}"}
        print(json.dumps({"id": order["id"], **found}), flush=True)


def until_told_to_leave():
    """Waits for the one word that is said amid an order."""
    word = sys.stdin.readline().strip()
    if word != "leave":
        raise ValueError(f"expected `leave`, not `{word}`")


def content_of(order):
    """The bytes to send."""
    with open(order["body"]["file"], "rb") as file:
        return file.read()


def pieces(content):
    for at in range(0, len(content), PIECE):
        yield content[at : at + PIECE]


def body(content):
    """What is told about a body."""
    told = {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if len(content) <= TEXT_MAX:
        told["text"] = content.decode("latin-1")
    return told
