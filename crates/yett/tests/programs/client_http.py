"""A client: Python's http.client, with one connection that is kept."""

import http.client
import urllib.parse

import talk

connections = {}


def connection_to(host):
    if host not in connections:
        connections[host] = http.client.HTTPConnection(host, timeout=talk.PATIENCE_S)
    return connections[host]


def forget(host):
    connections.pop(host).close()


def perform(order):
    url = urllib.parse.urlsplit(order["url"])
    try:
        if order["leave"]:
            return send_beginning(connection_to(url.netloc), url.path, order)
        return exchange(connection_to(url.netloc), url.path, order)
    except (http.client.HTTPException, OSError) as fault:
        forget(url.netloc)
        return {"error": f"{type(fault).__name__}: {fault}"}


def exchange(connection, path, order):
    begin(connection, path, order)
    is_sent = True
    if order["body"]:
        try:
            send(connection, talk.pieces(talk.content_of(order)), order)
        except OSError:
            # There may be an answer all the same.
            is_sent = False
    answer = connection.getresponse()
    content = answer.read()
    if not is_sent:
        connection.close()
    return {
        "status": answer.status,
        "version": {10: "HTTP/1.0", 11: "HTTP/1.1"}[answer.version],
        "headers": answer.getheaders(),
        **talk.body(content),
    }


def begin(connection, path, order):
    connection.putrequest(order["method"], path, skip_accept_encoding=True)
    for name, value in order["headers"]:
        connection.putheader(name, value)
    if order["body"] and order["body"]["chunked"]:
        connection.putheader("transfer-encoding", "chunked")
    elif order["body"]:
        connection.putheader("content-length", order["body"]["length"])
    connection.endheaders()


def send(connection, pieces, order):
    is_chunked = order["body"]["chunked"]
    for piece in pieces:
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
    if is_chunked:
        trailers = "".join(f"{name}: {value}\r\n" for name, value in order["trailers"])
        connection.send(b"0\r\n" + trailers.encode() + b"\r\n")


def send_beginning(connection, path, order):
    begin(connection, path, order)
    for piece in talk.pieces(talk.content_of(order)[: talk.BEGINNING]):
        is_chunked = order["body"]["chunked"]
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
    talk.until_told_to_leave()
    connection.close()
    return {"error": "left"}


talk.listen(perform)
