"""A backend of WebSockets, by the library of that name. It echoes, closes, and pings, as it is asked to.

It prints its port, and for each WebSocket that has ended the code and reason of its end.
"""

import asyncio
from contextlib import suppress

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

# The test says when anything ends.
PATIENT = {"ping_interval": None, "open_timeout": None, "close_timeout": None}


async def answer(socket):
    async for message in socket:
        match message.split(" ", 2) if isinstance(message, str) else []:
            case ["close", code, reason]:
                await socket.close(int(code), reason)
            case ["ping", _]:
                await (await socket.ping(b"from the backend"))
                await socket.send("it was answered")
            case _:
                await socket.send(message)


async def talk(socket):
    with suppress(ConnectionClosed):
        await answer(socket)
    await socket.wait_closed()
    print("ended", socket.close_code, socket.close_reason, flush=True)


def choose(_, offered):
    return "chat.v2" if "chat.v2" in offered else None


async def main():
    async with serve(talk, "127.0.0.1", 0, select_subprotocol=choose, max_size=None, **PATIENT) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
