"""Many connections at once. `serve COUNT` is a backend that answers once so many requests wait; `ask
ADDRESS` is a crowd of clients that obeys the lines of its input: `idle COUNT` until it has so many
connections that were used and stay open, `active COUNT` for so many requests at once, each on a connection
of its own, `gone` for how many of the idle ones were closed by the other side."""

import asyncio
import resource
import select
import socket
import sys

# One source address has 28 000 ports or so, some of them in use.
SOURCES = [f"127.0.0.{number}" for number in range(2, 22)]
REQUEST = "GET {} HTTP/1.1\r\nhost: crowd.test\r\n\r\n"
# Connections that are being opened at the same time.
OPENING = 200


class Client:
    def __init__(self, address, number):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        # The port is chosen with the destination in mind.
        self.socket.setsockopt(socket.IPPROTO_IP, 24, 1)
        self.socket.bind((SOURCES[number % len(SOURCES)], 0))
        self.socket.connect_ex(address)
        self.answer = b""

    def is_answered(self):
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"answered {self.answer!r}")
        return len(body) == 2


def converse(clients, path, at_once, address):
    """Opens clients, sends each a request, and reads its answer, so many at once."""
    poll = select.epoll()
    asking, opened, asked, answered = {}, 0, set(), []
    request = REQUEST.format(path).encode()
    while opened < clients or asking:
        while opened < clients and len(asking) < at_once:
            client = Client(address, opened)
            asking[client.socket.fileno()] = client
            poll.register(client.socket.fileno(), select.EPOLLOUT)
            opened += 1
        for number, _ in poll.poll():
            client = asking[number]
            if number not in asked:
                error = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise SystemExit(f"connecting failed: {error}")
                client.socket.send(request)
                asked.add(number)
                poll.modify(number, select.EPOLLIN)
                continue
            piece = client.socket.recv(4096)
            if not piece:
                raise SystemExit(f"closed after {client.answer!r}")
            client.answer += piece
            if client.is_answered():
                poll.unregister(number)
                answered.append(asking.pop(number))
    return answered


def gone(clients):
    """How many were closed by the other side."""
    count = 0
    for client in clients:
        try:
            count += client.socket.recv(1) == b""
        except BlockingIOError:
            pass
    return count


def ask(address):
    host, _, port = address.rpartition(":")
    address = (host, int(port))
    idle = []
    for line in sys.stdin:
        order, _, count = line.strip().partition(" ")
        if order == "idle":
            idle += converse(int(count) - len(idle), "/idle", OPENING, address)
            print(f"idle {len(idle)}", flush=True)
        elif order == "active":
            print(f"answered {len(converse(int(count), '/active', int(count), address))}", flush=True)
        else:
            print(f"gone {gone(idle)}", flush=True)


async def serve(count):
    is_full, arrived = asyncio.Event(), 0

    async def answer(reader, writer):
        nonlocal arrived
        await reader.readuntil(b"\r\n\r\n")
        arrived += 1
        if arrived >= count:
            is_full.set()
        await is_full.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2])))
else:
    ask(sys.argv[2])
