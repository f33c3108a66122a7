"""Clients of TLS that never stop: some open a connection for each few requests, some keep theirs. Ends with
the first line of its input, and prints what it counted and everything that failed."""

import socket
import ssl
import sys
import threading

host, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
REQUEST = b"GET / HTTP/1.1\r\nhost: one.test\r\n\r\n"
is_over = threading.Event()
lock = threading.Lock()
counted = {"handshakes": 0, "requests": 0}
failures = []


def count(what):
    with lock:
        counted[what] += 1


def opened(context):
    plain = socket.create_connection((host, port), timeout=60)
    connection = context.wrap_socket(plain, server_hostname="one.test")
    count("handshakes")
    return connection


def ask(connection):
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        piece = connection.recv(4096)
        if not piece:
            raise OSError(f"closed after {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"answered {answer!r}")
    count("requests")


def run(requests):
    context = ssl.create_default_context(cafile=authority)
    try:
        while not is_over.is_set():
            with opened(context) as connection:
                for _ in range(requests):
                    if is_over.is_set():
                        break
                    ask(connection)
    except OSError as error:
        with lock:
            failures.append(repr(error))


threads = [threading.Thread(target=run, args=(requests,)) for requests in [2, 2, 2, 10**9, 10**9]]
for thread in threads:
    thread.start()
sys.stdin.readline()
is_over.set()
for thread in threads:
    thread.join()
print(f"handshakes {counted['handshakes']}", flush=True)
print(f"requests {counted['requests']}", flush=True)
for failure in failures:
    print(f"failed {failure}", flush=True)
print("end", flush=True)
