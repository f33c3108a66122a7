"""A client of WebSockets, by the library of that name.

client_websocket.py check URL [CA_FILE]: prints a line for each check, `pass NAME` or `FAIL NAME: why`.
client_websocket.py talk URL: sends each line of its input, prints `heard MESSAGE`, and `ended CODE` at the end; `bye`
as a line closes.
client_websocket.py leave URL CA_FILE [bye]: prints `heard MESSAGE` of what it has sent, and leaves without a word to TLS;
with `bye` both sides have closed the WebSocket before.
"""

import asyncio
import ssl
import sys
import threading
import traceback
from hashlib import sha256
from socket import create_connection
from urllib.parse import urlsplit

from websockets.asyncio.client import connect as connect_async
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode
from websockets.sync.client import connect
from websockets.uri import parse_uri

PATIENCE_S = 60
# Long, and not to be compressed.
LARGE = b"".join(sha256(b"%d" % number).digest() for number in range((1 << 20) // 32))
PATIENT = {"open_timeout": PATIENCE_S, "close_timeout": PATIENCE_S, "ping_interval": None}


class Checks:
    """All in one thread: where one writes while another reads, Python's TLS now and then loses what is written."""

    def __init__(self, url, ca_file):
        self.url = url
        self.tls = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def open(self, path="/talk", **options):
        return connect_async(self.url + path, ssl=self.tls, proxy=None, max_size=None, **PATIENT, **options)

    async def echoed(self, message, **options):
        async with self.open(**options) as socket:
            await socket.send(message)
            assert await socket.recv() == message

    async def refused(self, status, *arguments, **options):
        try:
            async with self.open(*arguments, **options):
                pass
        except InvalidStatus as error:
            assert error.response.status_code == status, error
            return error.response.body.decode()
        raise AssertionError("it was opened")

    async def check_text(self):
        await self.echoed("größer als 漢字")

    async def check_binary(self):
        await self.echoed(bytes(range(256)))

    async def check_empty_message(self):
        await self.echoed("")

    async def check_large_message(self):
        await self.echoed(LARGE)
        await self.echoed(LARGE, compression=None)

    async def check_fragments(self):
        async with self.open() as socket:
            await socket.send(["of ", "several ", "", "frames"])
            assert await socket.recv() == "of several frames"

    async def check_order(self):
        async with self.open() as socket:
            for number in range(300):
                await socket.send(str(number))
            for number in range(300):
                assert await socket.recv() == str(number), number

    async def check_ping_of_the_client(self):
        async with self.open() as socket:
            await (await socket.ping(b"from the client"))

    async def check_ping_of_the_backend(self):
        async with self.open() as socket:
            await socket.send("ping me")
            assert await socket.recv() == "it was answered"

    async def check_close_by_the_backend(self):
        async with self.open() as socket:
            await socket.send("close 4001 enough of that")
            try:
                await socket.recv()
            except ConnectionClosed as error:
                assert (error.rcvd.code, error.rcvd.reason) == (4001, "enough of that"), error
                return
            raise AssertionError("it was not closed")

    async def check_close_by_the_client(self):
        # The test looks at what the backend saw.
        async with self.open() as socket:
            await socket.close(4002, "so long")
            assert socket.close_code == 4002, socket.close_code

    async def check_subprotocol(self):
        async with self.open(subprotocols=["chat.v1", "chat.v2"]) as socket:
            assert socket.subprotocol == "chat.v2", socket.subprotocol

    async def check_compression(self):
        async with self.open() as socket:
            told = socket.response.headers["sec-websocket-extensions"]
            assert told.startswith("permessage-deflate"), told
        async with self.open(compression=None) as socket:
            assert "sec-websocket-extensions" not in socket.response.headers

    async def check_origin_that_is_listed(self):
        await self.echoed("hello", origin="https://app.test")

    async def check_origin_that_is_the_host(self):
        await self.echoed("hello", origin=self.url.replace("ws", "http", 1))

    async def check_origin_of_strangers(self):
        for origin in ["https://evil.test", "http://app.test", "https://app.test.evil.test", "null"]:
            told = await self.refused(403, origin=origin)
            assert "origin_refused" in told, told

    async def check_no_policy(self):
        # The backend's own words: it got a plain request.
        told = await self.refused(426, "/plain")
        assert "WebSocket" in told, told


async def check_all(url, ca_file=None):
    checks = Checks(url, ca_file)
    for name in [name for name in dir(checks) if name.startswith("check_")]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await getattr(checks, name)()
            print("pass", name.removeprefix("check_"), flush=True)
        except Exception:  # Whatever it is, the test wants to know.
            why = traceback.format_exc().replace("\n", " | ")
            print(f"FAIL {name.removeprefix('check_')}: {why}", flush=True)


def check(*arguments):
    asyncio.run(check_all(*arguments))


def speak(socket):
    for line in sys.stdin:
        if line == "bye\n":
            socket.close()
        else:
            socket.send(line.rstrip("\n"))


def talk(url):
    # Without compression, so that the test knows how many bytes pass.
    with connect(url, proxy=None, compression=None, **PATIENT) as socket:
        print("open", flush=True)
        threading.Thread(target=speak, args=[socket], daemon=True).start()
        try:
            while True:
                print("heard", socket.recv(), flush=True)
        except ConnectionClosed:
            pass
        print("ended", socket.close_code, flush=True)


def leave(url, ca_file, bye=None):
    # By its own hand, since the library says goodbye to TLS as it should.
    to = urlsplit(url)
    plain = create_connection((to.hostname, to.port), PATIENCE_S)
    tls = ssl.create_default_context(cafile=ca_file)
    stream = tls.wrap_socket(plain, server_hostname=to.hostname)
    protocol = ClientProtocol(parse_uri(url))
    protocol.send_request(protocol.connect())
    is_over = False
    while not is_over:
        for data in protocol.data_to_send():
            stream.sendall(data)
        protocol.receive_data(stream.recv(1 << 16))
        for event in protocol.events_received():
            if not hasattr(event, "opcode"):
                protocol.send_text(b"hello")
            elif event.opcode is Opcode.TEXT:
                print("heard", event.data.decode(), flush=True)
                if bye:
                    protocol.send_close(1000)
                else:
                    is_over = True
            elif event.opcode is Opcode.CLOSE:
                is_over = True
    stream.close()


{"check": check, "talk": talk, "leave": leave}[sys.argv[1]](*sys.argv[2:])
