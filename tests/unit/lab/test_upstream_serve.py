"""The loopback server: ranges, kept connections, nothing outside its folders, a sources file."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from landbridge.stack import Sources
from tests.lab.serve import serve, static

DATA = bytes(range(256)) * 10_000  # more than one chunk


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "conda/noarch").mkdir(parents=True)
    (tmp_path / "conda/noarch/x.conda").write_bytes(DATA)
    (tmp_path / "secret").write_text("not served")
    return {"conda": tmp_path / "conda"}


@pytest.fixture
def connection(folders: dict[str, Path]) -> Iterator[http.client.HTTPConnection]:
    with static(folders) as url:
        yield http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, span: str = ""
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection.request(method, path, headers={"Range": span} if span else {})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_files_arrive_whole_over_one_connection(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "GET", "/conda/noarch/x.conda")[:2] == (200, DATA)
    kept = connection.sock
    status, body, headers = ask(connection, "HEAD", "/conda/noarch/x.conda")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(DATA)))
    assert headers["Cache-Control"] == "no-cache"
    assert ask(connection, "GET", "/conda/noarch/x.conda?a=1")[0] == 200
    assert connection.sock is kept


@pytest.mark.parametrize(
    ("span", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=2000000-", 2_000_000, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        (f"bytes=5-{len(DATA) * 2}", 5, len(DATA)),
    ],
)
def test_a_range_is_answered_with_just_that(
    connection: http.client.HTTPConnection, span: str, first: int, end: int
) -> None:
    status, body, headers = ask(connection, "GET", "/conda/noarch/x.conda", span)
    assert (status, body) == (206, DATA[first:end])
    assert headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(DATA)}"


def test_a_range_beyond_the_end_is_refused(connection: http.client.HTTPConnection) -> None:
    status, body, headers = ask(connection, "GET", "/conda/noarch/x.conda", f"bytes={len(DATA)}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(DATA)}")


@pytest.mark.parametrize(
    "path", ["/", "/conda", "/conda/none", "/secret", "/conda/../secret", "/conda/%2e%2e/secret"]
)
def test_nothing_else_is_served(connection: http.client.HTTPConnection, path: str) -> None:
    assert ask(connection, "GET", path)[0] == 404


def test_the_sources_file_names_what_is_served_and_all_ends(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "registry").mkdir()
    rpm = {"el9-x86_64": ("rpm-el9", "keys/RPM-GPG-KEY")}
    with serve(folders, tmp_path / "registry", rpm) as file:
        sources = Sources.model_validate(yaml.safe_load(file.read_text()))
        assert sources.conda and sources.cran and sources.images
        (repository,) = sources.rpm["el9-x86_64"]
        address = sources.conda.channels[0].split("/")[2]
        assert repository.gpgkey == f"http://{address}/keys/RPM-GPG-KEY"
        connection = http.client.HTTPConnection(address)
        assert ask(connection, "GET", "/conda/noarch/x.conda")[0] == 200
        connection.close()
        addresses = [address, sources.images.registry]
    for host, port in (text.split(":") for text in addresses):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))
    assert not file.exists()
