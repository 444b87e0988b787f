"""Serves the lab's upstream repositories on loopback, and tells where in a sources file."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import yaml

from tests.lab import upstream_images


@contextlib.contextmanager
def serve(
    folders: Mapping[str, Path], registry_data: Path, rpm: Mapping[str, tuple[str, str]]
) -> Iterator[Path]:
    """Serve folders over HTTP and images from a registry until the block ends.

    Args:
        folders: the directory behind each first part of a URL's path; `conda` and `cran` are
            named in the sources file.
        registry_data: data directory of the registry.
        rpm: for each target, the paths (below the server's root) of its dnf repository and of
            the key that signed it.

    Yields:
        The sources file, as `landbridge --sources` reads it.
    """
    with (
        static(folders) as url,
        upstream_images.registry(registry_data) as registry,
        tempfile.TemporaryDirectory() as scratch,
    ):
        repositories = {
            target: [{"id": "lab", "baseurl": f"{url}/{path}", "gpgkey": f"{url}/{key}"}]
            for target, (path, key) in rpm.items()
        }
        sources = {
            "rpm": repositories,
            "conda": {"channels": [f"{url}/conda"]},
            "cran": {"url": f"{url}/cran"},
            "images": {"registry": registry, "insecure": True},
        }
        file = Path(scratch, "sources.yml")
        file.write_text(yaml.safe_dump(sources, sort_keys=False))
        yield file


@contextlib.contextmanager
def static(folders: Mapping[str, Path]) -> Iterator[str]:
    """Serve `folders` on a free port of 127.0.0.1; yields the URL without a slash at its end."""
    server = _Server(("127.0.0.1", 0), partial(_Handler, folders))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Silent about clients that went away in the middle: tests kill them."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(SimpleHTTPRequestHandler):
    """Files by GET and HEAD, with connections kept open and byte ranges, without directories."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds until an idle connection is closed

    def __init__(self, folders: Mapping[str, Path], *args: object) -> None:
        self.folders = folders
        self.left = 0
        super().__init__(*args)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        if parts[0] not in self.folders or ".." in parts:
            return ""
        return str(self.folders[parts[0]].joinpath(*parts[1:]))

    def send_head(self) -> BinaryIO | None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        size = path.stat().st_size
        asked = self.headers.get("Range")
        span = (0, size) if asked is None else _span(asked, size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        first, end = span
        self.send_response(HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT)
        if asked is not None:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(end - first))
        self.send_header("Accept-Ranges", "bytes")
        # Ports come round again with other content behind them: clients must ask each time.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.left = end - first
        stream = path.open("rb")
        stream.seek(first)
        return stream

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        while chunk := source.read(min(self.left, 1 << 20)):
            outputfile.write(chunk)
            self.left -= len(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the output belongs to the command that is run against the server."""


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a single range; None if it lies outside."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not match or match[0] == "bytes=-":
        return None
    if not match[1]:  # the last so many bytes
        return (max(size - int(match[2]), 0), size)
    first, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    return (first, end) if first < end else None
