#!/usr/bin/env python3
"""A chat over WebSocket and a stream of events, on loopback only and with nothing but Python's own library.

It stands for your backend: `/` is a page, `/chat` a WebSocket in which everybody hears everybody, `/events` sends one
server-sent event per second. Use a real library for your own.
"""

import asyncio
import base64
import hashlib
import pathlib

ADDRESS = ("127.0.0.1", 9400)
MESSAGE_BYTES_MAX = 64 * 1024
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

people: set[asyncio.StreamWriter] = set()


def frame(kind: int, data: bytes) -> bytes:
    """One whole frame of a server (RFC 6455, 5.2)."""
    if len(data) < 126:
        head = bytes([0x80 | kind, len(data)])
    else:
        head = bytes([0x80 | kind, 126]) + len(data).to_bytes(2, "big")
    return head + data


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next frame of a client: its kind and its data."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    if length == 127 or length >= MESSAGE_BYTES_MAX or not first & 0x80 or not second & 0x80:
        return CLOSE, b""
    mask = await reader.readexactly(4)
    data = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


async def chat(headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    proof = hashlib.sha1((headers["sec-websocket-key"] + GUID).encode()).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: " + base64.b64encode(proof) + b"\r\n\r\n"
    )
    people.add(writer)
    try:
        while True:
            kind, data = await read_frame(reader)
            if kind == TEXT:
                for person in people:
                    person.write(frame(TEXT, data))
            elif kind == PING:
                writer.write(frame(PONG, data))
            elif kind == CLOSE:
                writer.write(frame(CLOSE, data))
                return
            await writer.drain()
    finally:
        people.discard(writer)


async def events(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n")
    for number in range(1, 3_600):
        writer.write(f"data: event {number}\n\n".encode())
        await writer.drain()
        await asyncio.sleep(1)


def answer(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = line.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        if path == "/chat" and headers.get("upgrade") == "websocket":
            await chat(headers, reader, writer)
        elif path == "/events":
            await events(writer)
        elif path == "/":
            page = pathlib.Path(__file__).with_name("page.html").read_bytes()
            writer.write(answer("200 OK", "text/html; charset=utf-8", page))
        else:
            writer.write(answer("404 Not Found", "text/plain", b"nothing is here\n"))
        await writer.drain()
    except (ConnectionError, EOFError, asyncio.LimitOverrunError):
        # The client has left, or spoke too much.
        return
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, *ADDRESS)
    print(f"listening on {ADDRESS[0]}:{ADDRESS[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
