"""A client of WebSockets, by the library of that name.

client_websocket.py check URL [CA_FILE]: prints a line for each check, `pass NAME` or `FAIL NAME: why`.
client_websocket.py talk URL: sends each line of its input, prints `heard MESSAGE`, and `ended CODE` at the end; `bye`
as a line closes.
"""

import ssl
import sys
import threading
import traceback
from hashlib import sha256

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PATIENCE_S = 60
# Long, and not to be compressed.
LARGE = b"".join(sha256(b"%d" % number).digest() for number in range((1 << 20) // 32))
PATIENT = {"open_timeout": PATIENCE_S, "close_timeout": PATIENCE_S, "ping_interval": None}


class Checks:
    def __init__(self, url, ca_file):
        self.url = url
        self.tls = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def open(self, path="/talk", **options):
        return connect(self.url + path, ssl=self.tls, proxy=None, max_size=None, **PATIENT, **options)

    def echoed(self, message, **options):
        with self.open(**options) as socket:
            socket.send(message)
            assert socket.recv(PATIENCE_S) == message

    def refused(self, status, *arguments, **options):
        try:
            self.open(*arguments, **options).close()
        except InvalidStatus as error:
            assert error.response.status_code == status, error
            return error.response.body.decode()
        raise AssertionError("it was opened")

    def check_text(self):
        self.echoed("größer als 漢字")

    def check_binary(self):
        self.echoed(bytes(range(256)))

    def check_empty_message(self):
        self.echoed("")

    def check_large_message(self):
        self.echoed(LARGE)
        self.echoed(LARGE, compression=None)

    def check_fragments(self):
        with self.open() as socket:
            socket.send(["of ", "several ", "", "frames"])
            assert socket.recv(PATIENCE_S) == "of several frames"

    def check_order(self):
        with self.open() as socket:
            for number in range(300):
                socket.send(str(number))
            for number in range(300):
                assert socket.recv(PATIENCE_S) == str(number), number

    def check_ping_of_the_client(self):
        with self.open() as socket:
            assert socket.ping(b"from the client").wait(PATIENCE_S)

    def check_ping_of_the_backend(self):
        with self.open() as socket:
            socket.send("ping me")
            assert socket.recv(PATIENCE_S) == "it was answered"

    def check_close_by_the_backend(self):
        with self.open() as socket:
            socket.send("close 4001 enough of that")
            try:
                socket.recv(PATIENCE_S)
            except ConnectionClosed as error:
                assert (error.rcvd.code, error.rcvd.reason) == (4001, "enough of that"), error
                return
            raise AssertionError("it was not closed")

    def check_close_by_the_client(self):
        # The test looks at what the backend saw.
        with self.open() as socket:
            socket.close(4002, "so long")
            assert socket.close_code == 4002, socket.close_code

    def check_subprotocol(self):
        with self.open(subprotocols=["chat.v1", "chat.v2"]) as socket:
            assert socket.subprotocol == "chat.v2", socket.subprotocol

    def check_compression(self):
        with self.open() as socket:
            told = socket.response.headers["sec-websocket-extensions"]
            assert told.startswith("permessage-deflate"), told
        with self.open(compression=None) as socket:
            assert "sec-websocket-extensions" not in socket.response.headers

    def check_origin_that_is_listed(self):
        self.echoed("hello", origin="https://app.test")

    def check_origin_that_is_the_host(self):
        self.echoed("hello", origin=self.url.replace("ws", "http", 1))

    def check_origin_of_strangers(self):
        for origin in ["https://evil.test", "http://app.test", "https://app.test.evil.test", "null"]:
            told = self.refused(403, origin=origin)
            assert "origin_refused" in told, told

    def check_no_policy(self):
        # The backend's own words: it got a plain request.
        told = self.refused(426, "/plain")
        assert "WebSocket" in told, told


def check(url, ca_file=None):
    checks = Checks(url, ca_file)
    for name in [name for name in dir(checks) if name.startswith("check_")]:
        try:
            getattr(checks, name)()
            print("pass", name.removeprefix("check_"), flush=True)
        except Exception:  # Whatever it is, the test wants to know.
            why = traceback.format_exc().replace("\n", " | ")
            print(f"FAIL {name.removeprefix('check_')}: {why}", flush=True)


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


{"check": check, "talk": talk}[sys.argv[1]](*sys.argv[2:])
