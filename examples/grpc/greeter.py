"""A service of gRPC. Its messages are plain bytes, so that it needs no generated code.

Run it with an address, 127.0.0.1:50051 unless said otherwise. It prints the port, and calls that their callers gave up.
"""

import sys
import threading
from concurrent import futures

import grpc


def hello(request, context):
    """Greets; what came as x-ask goes back in headers and trailers."""
    asked = [(name, value) for name, value in context.invocation_metadata() if name.startswith("x-ask")]
    context.send_initial_metadata(asked)
    context.set_trailing_metadata(asked)
    return b"hello " + request


def echo(request, context):
    """Gives back what it gets."""
    return request


def count(request, context):
    """Counts to a number, a message each."""
    for number in range(1, int(request) + 1):
        yield str(number).encode()


def add(requests, context):
    """Adds up the numbers that come."""
    return str(sum(int(number) for number in requests)).encode()


def chat(requests, context):
    """Answers each message before it takes the next."""
    for request in requests:
        yield b"you said " + request


def find(request, context):
    """Finds nothing."""
    context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.decode()} here: 100 % größer")


def left(request, context):
    """Tells for how many seconds its caller still waits."""
    return str(context.time_remaining()).encode()


def hold(request, context):
    """Begins, and ends only when the caller gives up."""
    gone = threading.Event()
    context.add_callback(gone.set)
    yield b"begun"
    gone.wait()
    print("given up", request.decode(), flush=True)


METHODS = {
    "Hello": grpc.unary_unary_rpc_method_handler(hello),
    "Scarce": grpc.unary_unary_rpc_method_handler(hello),
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Add": grpc.stream_unary_rpc_method_handler(add),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Find": grpc.unary_unary_rpc_method_handler(find),
    "Left": grpc.unary_unary_rpc_method_handler(left),
    "Hold": grpc.unary_stream_rpc_method_handler(hold),
    "Hurry": grpc.unary_stream_rpc_method_handler(hold),
}


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("demo.Greeter", METHODS)])
    print("port", server.add_insecure_port(address), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
