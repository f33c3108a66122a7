"""Calls the service of examples/grpc in every way that gRPC has: client_grpc.py ADDRESS [CA_FILE].

It prints a line for each check, `pass NAME` or `FAIL NAME: why`.
"""

import queue
import sys
import traceback

import grpc

PATIENCE_S = 60
LARGE = b"m" * (1 << 20)


def connect(address, ca_file):
    if ca_file is None:
        return grpc.insecure_channel(address)
    with open(ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return grpc.secure_channel(address, credentials)


class Calls:
    def __init__(self, channel):
        self.channel = channel

    def unary(self, method, request, **options):
        options.setdefault("timeout", PATIENCE_S)
        return self.channel.unary_unary(f"/demo.Greeter/{method}").with_call(request, **options)

    def refused(self, call):
        try:
            call()
        except grpc.RpcError as error:
            return error
        raise AssertionError("the call succeeded")

    def check_metadata(self):
        sent = (("x-ask", "a b"), ("x-ask-bin", b"\x00\xff\x80"))
        reply, call = self.unary("Hello", b"world", metadata=sent)
        assert reply == b"hello world", reply
        for told in (call.initial_metadata(), call.trailing_metadata()):
            for pair in sent:
                assert pair in [tuple(one) for one in told], (pair, told)

    def check_server_stream(self):
        call = self.channel.unary_stream("/demo.Greeter/Count")(b"1000", timeout=PATIENCE_S)
        assert [int(number) for number in call] == list(range(1, 1001))
        assert call.code() == grpc.StatusCode.OK

    def check_client_stream(self):
        numbers = (str(number).encode() for number in range(1, 1001))
        reply = self.channel.stream_unary("/demo.Greeter/Add")(numbers, timeout=PATIENCE_S)
        assert reply == b"500500", reply

    def check_ping_pong(self):
        sent = queue.SimpleQueue()
        call = self.channel.stream_stream("/demo.Greeter/Chat")(iter(sent.get, None), timeout=PATIENCE_S)
        for turn in range(50):
            sent.put(b"%d" % turn)
            assert next(call) == b"you said %d" % turn
        sent.put(LARGE)
        assert next(call) == b"you said " + LARGE
        sent.put(None)
        assert list(call) == []

    def check_large_messages(self):
        assert self.unary("Echo", LARGE)[0] == LARGE

    def check_empty_message(self):
        assert self.unary("Echo", b"")[0] == b""

    def check_error_of_the_backend(self):
        error = self.refused(lambda: self.unary("Find", b"thing"))
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        assert error.details() == "no thing here: 100 % größer", error.details()

    def check_no_route(self):
        error = self.refused(lambda: self.channel.unary_unary("/demo.Nobody/Hello")(b"", timeout=PATIENCE_S))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
        assert error.details() == "Nothing is here (no_route)", error.details()

    def check_limit(self):
        self.unary("Scarce", b"1")
        self.unary("Scarce", b"2")
        error = self.refused(lambda: self.unary("Scarce", b"3"))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        told = dict(error.trailing_metadata())
        assert int(told["grpc-retry-pushback-ms"]) >= 1_000, told

    def check_deadline_reaches_the_backend(self):
        left = float(self.unary("Left", b"", timeout=40)[0])
        # Its library rounds up what it sends.
        assert 0 < left < 60, left

    def check_deadline_of_the_gateway(self):
        call = self.channel.unary_stream("/demo.Greeter/Hurry")(b"hurried", timeout=PATIENCE_S)
        assert next(call) == b"begun"
        error = self.refused(lambda: next(call))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        assert error.details() == "The request took too long", error.details()

    def check_deadline_of_the_caller(self):
        call = self.channel.unary_stream("/demo.Greeter/Hold")(b"late", timeout=1)
        error = self.refused(lambda: list(call))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

    def check_cancellation(self):
        call = self.channel.unary_stream("/demo.Greeter/Hold")(b"cancelled", timeout=PATIENCE_S)
        assert next(call) == b"begun"
        call.cancel()
        error = self.refused(lambda: next(call))
        assert error.code() == grpc.StatusCode.CANCELLED, error


def main():
    address, ca_file = (sys.argv[1:] + [None])[:2]
    with connect(address, ca_file) as channel:
        calls = Calls(channel)
        for name in [name for name in dir(calls) if name.startswith("check_")]:
            try:
                getattr(calls, name)()
                print("pass", name.removeprefix("check_"), flush=True)
            except (AssertionError, StopIteration, grpc.RpcError):
                print("FAIL", name.removeprefix("check_"), traceback.format_exc().replace("\n", " | "), flush=True)


if __name__ == "__main__":
    main()
