"""The bridge from ASGI to WSGI, with requests as the server hands them over."""

from __future__ import annotations

import asyncio
from wsgiref.validate import validator

import pytest

from config.threaded_wsgi import ThreadedWSGI, wsgi_environ


def scope(method="POST", path="/x", query=b"", headers=()):
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": list(headers),
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 4242),
    }


def ask(application, connection, *messages, most_body=100):
    """The status, headers and body that a client would see."""
    incoming, outgoing = list(messages), []

    async def receive():
        return incoming.pop(0)

    async def send(message):
        outgoing.append(message)

    asyncio.run(ThreadedWSGI(application, threads=1, most_body=most_body)(connection, receive, send))
    return outgoing


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("201 Created", [("Content-Type", "text/plain"), ("X-Length", environ["CONTENT_LENGTH"])])
    return [b"got ", body]


def chunk(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


def test_request_and_response_pass_whole():
    start, body = ask(echo, scope(), chunk(b"one", more=True), chunk(b"two"))
    assert start["status"] == 201
    assert (b"content-type", b"text/plain") in start["headers"]
    assert (b"x-length", b"6") in start["headers"]
    assert body["body"] == b"got onetwo"


def test_the_environ_is_what_the_standard_asks():
    def application(environ, start_response):
        assert environ["PATH_INFO"] == "/é".encode().decode("latin-1")
        assert environ["QUERY_STRING"] == "a=1"
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    connection = scope(path="/é", query=b"a=1", headers=[(b"host", b"localhost")])
    assert ask(validator(application), connection, chunk(b""))[1]["body"] == b"ok"


def test_a_client_that_leaves_is_forgotten():
    assert ask(echo, scope(), chunk(b"one", more=True), {"type": "http.disconnect"}) == []


def test_of_a_flood_only_the_first_part_is_kept_and_its_declared_length_shown():
    flood = [chunk(b"x" * 60, more=True)] * 100
    start, body = ask(echo, scope(headers=[(b"content-length", b"6000")]), *flood)
    assert (b"x-length", b"6000") in start["headers"]
    assert len(body["body"]) < 200


def test_a_header_with_an_underscore_cannot_pass_for_another():
    environ = wsgi_environ(scope(headers=[(b"x_api_key", b"forged"), (b"x-api-key", b"real")]), b"")
    assert environ["HTTP_X_API_KEY"] == "real"


def test_repeated_headers_are_joined():
    environ = wsgi_environ(scope(headers=[(b"accept", b"a"), (b"accept", b"b")]), b"")
    assert environ["HTTP_ACCEPT"] == "a,b"


def test_the_response_is_closed_even_if_it_breaks():
    closed = []

    class Broken:
        def __iter__(self):
            yield b"begun"
            raise RuntimeError("broken")

        def close(self):
            closed.append(True)

    def application(environ, start_response):
        start_response("200 OK", [])
        return Broken()

    with pytest.raises(RuntimeError, match="broken"):
        ask(application, scope(), chunk(b""))
    assert closed == [True]


def test_what_is_written_comes_first():
    def application(environ, start_response):
        start_response("200 OK", [])(b"written ")
        return [b"returned"]

    assert ask(application, scope(), chunk(b""))[1]["body"] == b"written returned"


def test_a_long_response_goes_out_in_pieces():
    def application(environ, start_response):
        start_response("200 OK", [])
        return (bytes([number]) * 100_000 for number in range(20))

    _, *bodies = ask(application, scope(), chunk(b""))
    assert b"".join(body["body"] for body in bodies) == b"".join(bytes([number]) * 100_000 for number in range(20))
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
    assert max(len(body["body"]) for body in bodies) < 500_000


class Streamed:
    """As Django's streaming responses are."""

    streaming = True

    def __init__(self, pieces):
        self.pieces, self.is_closed = pieces, False

    def __iter__(self):
        return iter(self.pieces)

    def close(self):
        self.is_closed = True


def test_a_streamed_response_longer_than_memory_passes_whole_and_is_closed():
    streamed = Streamed([b"x" * 100_000] * 25)

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return streamed

    start, *pieces = ask(application, scope(), chunk(b""))
    assert start["status"] == 200
    assert b"".join(piece["body"] for piece in pieces) == b"x" * 2_500_000
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert streamed.is_closed
