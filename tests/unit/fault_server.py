"""A web server on loopback that does, on demand, everything that sources get wrong."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, TypeVar

DAY = 1_700_000_000  # 2023-11-14


class Asked(NamedTuple):
    """One request as it came in; names of headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]


class Source(ThreadingHTTPServer):
    """Serves `files` properly, but first does each step of `script` for its path, in order.

    Attributes:
        files: contents by path.
        script: steps by path, each a function of the handler and the content.
        ranges: whether a rest of a file may be asked for.
        versions: whether ETag and Last-Modified are told.
        login: `user:password` that is wanted of everybody; empty for none.
        asked: the requests so far.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[Step]] = {}
        self.ranges = self.versions = True
        self.login = ""
        self.scheme = "http"
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, *_args: object) -> None:
        """Clients that go away are the point of some tests."""

    def gets(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path and one.method == "GET"]

    def spans(self, path: str) -> list[str | None]:
        """The `Range` of each GET."""
        return [one.headers.get("range") for one in self.gets(path)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Source

    def log_message(self, *_args: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers))
        wanted = base64.b64encode(self.server.login.encode()).decode()
        if self.server.login and headers.get("authorization") != f"Basic {wanted}":
            return self.plain(401)
        content = self.server.files.get(self.path)
        steps = self.server.script.get(self.path)
        if steps:
            return steps.pop(0)(self, content or b"")
        return self.plain(404) if content is None else self.whole(content)

    def plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def whole(self, content: bytes) -> None:
        """What a good server does: conditions and ranges heeded."""
        etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        if self.server.versions and self.headers.get("If-None-Match") == etag:
            return self.plain(304, ETag=etag)
        start = self.announce(content, etag)
        if self.command == "GET":
            self.wfile.write(content[start:])
        return None

    def announce(self, content: bytes, etag: str = "") -> int:
        """Send the headers of a whole file or of the rest asked for; return where it starts."""
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(span[1]) if span and self.server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            size = len(content)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if self.server.versions:
            self.send_header("ETag", etag or f'"{hashlib.sha256(content).hexdigest()[:8]}"')
            self.send_header("Last-Modified", formatdate(DAY, usegmt=True))
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return start


Step = Callable[[Handler, bytes], None]


def status(code: int, **headers: str) -> Step:
    """Answer with a bare status."""
    return lambda handler, _content: handler.plain(code, **headers)


def truncated(size: int) -> Step:
    """Promise everything, send `size` bytes, hang up."""

    def step(handler: Handler, content: bytes) -> None:
        start = handler.announce(content)
        handler.wfile.write(content[start : start + size])
        handler.close_connection = True

    return step


def endless(size: int) -> Step:
    """Promise nothing, send `size` bytes, hang up: it looks like a whole file."""

    def step(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content[:size])
        handler.close_connection = True

    return step


def silent(size: int, until: threading.Event) -> Step:
    """Send `size` bytes, then nothing until told."""

    def step(handler: Handler, content: bytes) -> None:
        start = handler.announce(content)
        handler.wfile.write(content[start : start + size])
        handler.wfile.flush()
        until.wait(30)
        handler.wfile.write(content[start + size :])

    return step


def dripping(handler: Handler, content: bytes) -> None:
    """Send everything, in twenty pieces."""
    start = handler.announce(content)
    piece = len(content) // 20 + 1
    for at in range(start, len(content), piece):
        handler.wfile.write(content[at : at + piece])
        handler.wfile.flush()
        time.sleep(0.005)


def misplaced(handler: Handler, content: bytes) -> None:
    """Send the file's start as if it were the rest that was asked for."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def instead(content: bytes) -> Step:
    """Send another file."""
    return lambda handler, _content: handler.whole(content)


class Proxy(ThreadingHTTPServer):
    """Fetches http:// URLs for others; remembers which."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, *_args: object) -> None: ...

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self.path) as answer:
            content = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


Server = TypeVar("Server", bound=ThreadingHTTPServer)


@contextmanager
def served(server: Server) -> Iterator[Server]:
    """Run a server until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def source(tls: ssl.SSLContext | None = None) -> Iterator[Source]:
    """A source that runs until the block ends, behind TLS if a context is given."""
    server = Source()
    if tls is not None:
        # The handshake belongs to the connection's own thread.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.scheme = "https"
    with served(server):
        yield server


@contextmanager
def proxy() -> Iterator[Proxy]:
    """A forward proxy that runs until the block ends."""
    with served(Proxy()) as server:
        yield server
