"""One request to one source: by the right client, over redirects, with faults told apart."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

import httpx

from landbridge.access import Access, Way
from landbridge.errors import InputError, SourceError
from landbridge.files import CHUNK

# Of silence, not of the whole transfer: a slow source is waited for.
TIMEOUT_SECONDS = 60.0
REDIRECTS = 10
_UNREACHABLE = "check the URL in the sources file and the mirror behind it, then run this again"
_LOGIN = "put the host's user name and password in netrc, or give client_cert in `access:`"
_TRUST = "give the site's CA as `ca`, or a client_cert, in `access:` of the sources file"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Interrupted(SourceError):
    """A fault that may pass by itself: it is worth another try.

    Args:
        message: what happened.
        wait: seconds that the source asks to be left alone (`Retry-After`); 0 if it does not.
    """

    def __init__(self, message: str, wait: float = 0) -> None:
        super().__init__(message, _UNREACHABLE)
        self.wait = wait


class Missing(SourceError):
    """The source answers, and does not have the file."""


@dataclass(frozen=True)
class Answer:
    """What a source sends.

    Attributes:
        status: 200 for the whole file, 206 for a rest, 304 for unchanged, 416 for a rest that
            it does not have.
        total: bytes of the whole file; None if untold.
        start: the first byte's place in the file; -1 where a rest's place is not told.
        etag: its `ETag`; empty if untold.
        modified: its `Last-Modified`; empty if untold.
        chunks: the bytes, as they come.
    """

    status: int
    total: int | None
    start: int
    etag: str
    modified: str
    chunks: Iterator[bytes]

    @property
    def version(self) -> str:
        """What changes with every byte of the file; empty if the source tells nothing such.

        A weak ETag does not (RFC 9110, 8.8.1).
        """
        return self.modified if self.etag.startswith("W/") else self.etag or self.modified


class Transport:
    """HTTP clients, one for each kind of way; used by several threads.

    Args:
        access: how each URL is reached.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._clients: dict[Way, httpx.Client] = {}
        self._alone = Lock()

    @contextmanager
    def ask(
        self, url: str, headers: Mapping[str, str] = _NOTHING, method: str = "GET"
    ) -> Iterator[Answer]:
        """Ask for a file; `file:` URLs are answered as a web server would.

        Raises:
            Interrupted: in the block too, when the rest does not come.
            Missing: the source does not have it.
            SourceError: the source refuses, or cannot be talked to at all.
            InputError: a certificate or the netrc file cannot be used.
        """
        if url.startswith("file:"):
            yield _from_disk(url, headers)
            return
        with _clear_faults(url):
            response = self._send(method, url, headers)
            try:
                yield _answer(url, response)
            finally:
                response.close()

    def _send(self, method: str, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Follow redirects ourselves: each host has its own certificates, proxy and login."""
        here, secure = httpx.URL(url), False
        for _ in range(REDIRECTS + 1):
            way = self._access.way(str(here))
            secure = secure or here.scheme == "https"
            # A password that belongs behind TLS does not follow a redirect out of it.
            known = (way.username or way.password) and (here.scheme == "https" or not secure)
            login = httpx.BasicAuth(way.username, way.password) if known else None
            client = self._client(way)
            request = client.build_request(method, here, headers=headers)
            response = client.send(request, stream=True, auth=login, follow_redirects=False)
            if not response.has_redirect_location:
                return response
            response.close()
            here = here.join(response.headers["Location"])
            if here.scheme not in ("http", "https"):
                raise SourceError(f"{url}: redirects to {here.scheme}:", _UNREACHABLE)
        raise SourceError(f"{url}: redirects more than {REDIRECTS} times", _UNREACHABLE)

    def _client(self, way: Way) -> httpx.Client:
        key = replace(way, username="", password="")
        with self._alone:
            if key not in self._clients:
                self._clients[key] = _make_client(key)
            return self._clients[key]


def _make_client(way: Way) -> httpx.Client:
    tls = _tls(way)
    proxy = None
    if way.proxy:
        over_tls = way.proxy.startswith("https:")
        proxy = httpx.Proxy(way.proxy, ssl_context=tls if over_tls else None)
    return httpx.Client(
        verify=tls,
        proxy=proxy,
        trust_env=way.proxy is None,
        timeout=TIMEOUT_SECONDS,
        # A .tar.gz must come as it is stored, not unpacked or packed once more on the way.
        headers={"Accept-Encoding": "identity"},
    )


def _tls(way: Way) -> ssl.SSLContext:
    """The operating system's certificates, not certifi's: a site's own CA may be among them."""
    context = ssl.create_default_context()
    try:
        file = way.ca
        if way.ca:
            context.load_verify_locations(way.ca)
        file = way.client_cert
        if way.client_cert:
            # Without a function for the passphrase OpenSSL would ask for it on the terminal.
            context.load_cert_chain(way.client_cert, way.client_key, password=lambda: b"")
    except (OSError, ValueError) as error:
        key = f" with key {way.client_key}" if file == way.client_cert and way.client_key else ""
        raise InputError(
            f"{file}{key}: cannot be used: {error}",
            "give certificates and keys in PEM, and a key without a passphrase",
        ) from error
    return context


def _answer(url: str, response: httpx.Response) -> Answer:
    status, headers = response.status_code, response.headers
    if status not in (200, 206, 304, 416):
        raise _refusal(url, response)
    start, total = 0, _number(headers.get("Content-Length", ""))
    if status != 200:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        start, total = (int(span[1]), _number(span[2])) if span else (-1, None)
    return Answer(
        status,
        total,
        start,
        headers.get("ETag", ""),
        headers.get("Last-Modified", ""),
        response.iter_raw(),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _refusal(url: str, response: httpx.Response) -> SourceError:
    status = response.status_code
    message = f"{url}: HTTP {status} {response.reason_phrase}".rstrip()
    if status in (404, 410):
        return Missing(message, _UNREACHABLE)
    if status in (401, 403):
        return SourceError(message, _LOGIN)
    if status == 407:
        return SourceError(message, _PROXY)
    if status in (408, 429) or status >= 500:
        return Interrupted(message, _wait_asked(response.headers.get("Retry-After", "")))
    return SourceError(message, _UNREACHABLE)


_PROXY = "give the proxy's user name and password in the environment's https_proxy and http_proxy"


def _wait_asked(text: str) -> float:
    """Seconds from `Retry-After`: a number or a date (RFC 9110, 10.2.3)."""
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0


@contextmanager
def _clear_faults(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise SourceError(f"{url}: {error}", _UNREACHABLE) from error
    except httpx.ProxyError as error:
        refused = str(error).startswith("407")
        raise SourceError(f"{url}: proxy: {error}", _PROXY if refused else "") from error
    except httpx.HTTPError as error:
        said = f"{url}: {error or type(error).__name__}"
        if _about_certificates(error):
            raise SourceError(said, _TRUST) from error
        raise Interrupted(said) from error


def _about_certificates(error: BaseException | None) -> bool:
    """Whether TLS itself said no, which no second try changes."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
        error = error.__cause__ or error.__context__
    return False


def _from_disk(url: str, headers: Mapping[str, str]) -> Answer:
    path = Path(unquote(urlsplit(url).path))
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise Missing(f"{url}: {error.strerror}", _UNREACHABLE) from error
    except OSError as error:
        raise SourceError(f"{url}: {error.strerror}", _UNREACHABLE) from error
    etag = f'"{state.st_ino:x}-{state.st_size:x}-{state.st_mtime_ns:x}"'
    modified = format_datetime(datetime.fromtimestamp(state.st_mtime, UTC), usegmt=True)
    status = 304 if headers.get("If-None-Match") == etag else 200
    return Answer(status, state.st_size, 0, etag, modified, _read(url, path))


def _read(url: str, path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceError(f"{url}: {error.strerror}", _UNREACHABLE) from error
