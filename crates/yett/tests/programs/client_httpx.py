"""A client: httpx, by HTTP/1.1 or by HTTP/2 without negotiation, as its argument says."""

import sys

import httpx

import talk


class Leaving(Exception):
    """The test wants the client to go amid its upload."""


def fresh():
    is_2 = sys.argv[1] == "2"
    return httpx.Client(http1=not is_2, http2=is_2, trust_env=False, timeout=talk.PATIENCE_S)


client = fresh()


def perform(order):
    global client
    try:
        return exchange(order)
    except httpx.HTTPError as fault:
        return {"error": f"{type(fault).__name__}: {fault}"}
    except Leaving:
        # An HTTP/2 connection would stay, and with it the half-sent body.
        client.close()
        client = fresh()
        return {"error": "left"}


def exchange(order):
    headers = [tuple(pair) for pair in order["headers"]]
    request = client.build_request(order["method"], order["url"], headers=headers, content=content(order))
    if order["body"] and not order["body"]["chunked"]:
        request.headers["content-length"] = str(order["body"]["length"])
        request.headers.pop("transfer-encoding", None)
    answer = client.send(request)
    return {
        "status": answer.status_code,
        "version": answer.http_version,
        "headers": answer.headers.multi_items(),
        **talk.body(answer.content),
    }


def content(order):
    if not order["body"]:
        return None
    whole = talk.content_of(order)
    if order["leave"]:
        return beginning(whole)
    return talk.pieces(whole) if order["body"]["chunked"] else whole


def beginning(whole):
    yield from talk.pieces(whole[: talk.BEGINNING])
    talk.until_told_to_leave()
    raise Leaving


talk.listen(perform)
