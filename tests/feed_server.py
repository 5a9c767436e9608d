"""An HTTP server for tests of feeds, on loopback, that misbehaves by name.

`pages` says what each path answers; a page with `quirk` misbehaves: "drip" and "drip-head" send an octet at a time for
ever, "stall" never answers, "cut" closes in the middle of the body, "endless" never ends a chunked body, "chunked"
sends one without saying its length, "noise" speaks no HTTP, "hang-up" closes at once, "get-only" does not know HEAD.
"""

import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

TLS = Path(__file__).parent / "tls"

RSS = "application/rss+xml"


def make_feed(*titles: str, text: str = "Text.", extra: str = "") -> bytes:
    """An RSS feed with a story a title; each has the id `tag:TITLE`."""
    items = "".join(
        f"<item><title>{title}</title><guid>tag:{title.replace(' ', '-')}</guid>"
        f"<description>{text}</description></item>"
        for title in titles
    )
    return f'<rss version="2.0"><channel><title>The feed</title>{extra}{items}</channel></rss>'.encode()


@dataclass
class Page:
    """What a path answers. `etag` and `last_modified` are compared with what is asked."""

    body: bytes = b""
    status: int = 200
    content_type: str = RSS
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    last_modified: str = ""
    encoding: str = ""
    quirk: str = ""


@dataclass(frozen=True)
class Asked:
    """A request: the path, the headers by their names in lower case, and the method."""

    path: str
    headers: dict[str, str]
    method: str = "GET"


def encode(body: bytes, encoding: str) -> bytes:
    """The body as a server of this Content-Encoding would send it; `bare deflate` has no zlib header."""
    match encoding:
        case "gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
        case "bare deflate":
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            return packer.compress(body) + packer.flush()
        case _:
            return body


class FeedServer:
    """Answers as its pages say, and remembers what it was asked."""

    def __init__(self, *, tls: bool = False) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._scheme = "https" if tls else "http"
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(TLS / "server.pem")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/feed", *, host: str = "127.0.0.1", login: str = "") -> str:
        """The address of a path."""
        return f"{self._scheme}://{login}{host}:{self.port}{path}"

    def offer(self, path: str, body: bytes = b"", **page: Any) -> str:
        """Let a path answer this; returns its address."""
        self.pages[path] = Page(body=body, **page)
        return self.url(path)

    def redirect(self, path: str, location: str, *, status: int = 302) -> str:
        """Let a path redirect; returns its address."""
        return self.offer(path, status=status, headers={"Location": location})

    @contextmanager
    def running(self) -> Iterator["FeedServer"]:
        """Serve in threads, until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingTCPServer):
    owner: FeedServer
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many tests are about."""


class _Handler(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        asked = self._read_request()
        owner = self.server.owner
        owner.asked.append(asked)
        page = owner.pages.get(asked.path, Page(status=404))
        match page.quirk:
            case "get-only" if asked.method == "HEAD":
                self._answer(Page(status=405), asked)
            case "stall":
                owner.closing.wait()
            case "hang-up":
                return
            case "noise":
                self.wfile.write(b"SSH-2.0-noise\r\n\r\n")
            case "drip-head":
                self._drip(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            case _:
                self._answer(page, asked)

    def _read_request(self) -> Asked:
        method, path = self.rfile.readline().decode().split()[:2]
        headers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Asked(path, headers, method)

    def _answer(self, page: Page, asked: Asked) -> None:
        known = (asked.headers.get("if-none-match"), asked.headers.get("if-modified-since"))
        is_same = (page.etag and known[0] == page.etag) or (page.last_modified and known[1] == page.last_modified)
        body = b"" if is_same else encode(page.body, page.encoding)
        headers = {
            "Content-Type": page.content_type,
            "ETag": page.etag,
            "Last-Modified": page.last_modified,
            "Content-Encoding": page.encoding.removeprefix("bare "),
            "Content-Length": "" if page.quirk in ("chunked", "endless") else str(len(body)),
            "Transfer-Encoding": "chunked" if page.quirk in ("chunked", "endless") else "",
            "Connection": "close",
            **page.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        self.wfile.write(f"HTTP/1.1 {304 if is_same else page.status} Any\r\n{head}\r\n".encode("latin-1"))
        if asked.method == "HEAD":
            return
        match page.quirk:
            case "cut":
                self.wfile.write(body[:-1])
            case "drip":
                self._drip(body[:-1])
            case "chunked":
                self.wfile.write(_chunk(body) + b"0\r\n\r\n")
            case "endless":
                while not self.server.owner.closing.is_set():
                    self.wfile.write(_chunk(body))
            case _:
                self.wfile.write(body)

    def _drip(self, octets: bytes) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        position = 0
        while not self.server.owner.closing.wait(0.005):
            self.wfile.write(octets[position : position + 1] or b"x")
            position += 1


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)
