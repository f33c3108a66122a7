#!/usr/bin/env python3
"""An introspection endpoint (RFC 7662): `introspection.py ADDRESS TOKENS SUBJECTS` knows that many tokens, and no others."""

import asyncio
import json
import sys
import urllib.parse

from tokens import claims, opaque


async def serve(reader, writer, known, subjects):
    """Answers the questions of one connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            form = urllib.parse.parse_qs((await reader.readexactly(length)).decode())
            number = known.get(form["token"][0])
            said = {"active": False}
            if number is not None and "authorization: basic " in head:
                said = {"active": True, "token_type": "Bearer"} | claims(number, subjects)
            body = json.dumps(said).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                         % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(address, tokens, subjects):
    known = {opaque(number): number for number in range(tokens)}
    host, port = address.split(":")
    server = await asyncio.start_server(lambda r, w: serve(r, w, known, subjects), host, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
