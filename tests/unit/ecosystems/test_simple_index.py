"""Both pages of the index of wheels say the same."""

from __future__ import annotations

import hashlib
import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from landbridge.ecosystems import _simple_index
from landbridge.errors import SourceError
from landbridge.lock import Artifact
from tests.unit.small_upstreams import wheel


class Links(HTMLParser):
    """The links of a page: text and attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._last: dict[str, str] = {}
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._last = {key: value or "" for key, value in attrs}

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found[data] = self._last


def artifact(folder: Path, name: str, version: str, requires: str = "") -> Artifact:
    """A wheel in the index, whose metadata may say for which Pythons it is."""
    file = wheel(folder / name, name, version)
    with zipfile.ZipFile(file) as archive:
        texts = {member: archive.read(member).decode() for member in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}/_vendor/a-1.dist-info/METADATA", "Requires-Python: >=99\n")
        for member, text in texts.items():
            told = f"{text}Requires-Python: {requires}\n" if requires else text
            archive.writestr(member, told if member.endswith("/METADATA") else text)
    data = file.read_bytes()
    return Artifact(
        ecosystem="pypi",
        name=name,
        version=version,
        path=f"pypi/simple/{name}/{file.name}",
        url=f"https://index.example/{file.name}",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two projects, one of them in two versions."""
    place = tmp_path / "simple"
    two = [artifact(place, "two", "10.0", ">=3.8,<4"), artifact(place, "two", "9.1+cpu")]
    _simple_index.write(place, {"two": two, "one": [artifact(place, "one", "1.0")]})
    return place


def page(place: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((place / "index.json").read_text())
    assert data.pop("meta") == {"api-version": "1.1"}
    return data


def test_both_pages_name_the_same_files_with_the_same_hashes(folder: Path) -> None:
    data = page(folder / "two")
    assert (data["name"], data["versions"]) == ("two", ["9.1+cpu", "10.0"])
    files = {file["filename"]: file for file in data["files"]}
    links = Links(folder / "two/index.html").found
    assert files.keys() == links.keys() == {p.name for p in (folder / "two").glob("*.whl")}
    for name, file in files.items():
        content = (folder / "two" / file["url"]).read_bytes()
        assert file["hashes"] == {"sha256": hashlib.sha256(content).hexdigest()}
        assert file["size"] == len(content)
        assert links[name]["href"] == f"{file['url']}#sha256={file['hashes']['sha256']}"
        assert links[name].get("data-requires-python") == file.get("requires-python")
    assert files["two-10.0-py3-none-any.whl"]["requires-python"] == ">=3.8,<4"
    assert "requires-python" not in files["two-9.1+cpu-py3-none-any.whl"]


def test_both_lists_name_the_same_projects(folder: Path) -> None:
    assert page(folder) == {"projects": [{"name": "one"}, {"name": "two"}]}
    links = Links(folder / "index.html").found
    assert {name: link["href"] for name, link in links.items()} == {"one": "one/", "two": "two/"}


def test_a_file_that_is_no_wheel_is_named(tmp_path: Path) -> None:
    good = artifact(tmp_path, "one", "1.0")
    (tmp_path / "one" / good.file).write_bytes(b"no wheel")
    with pytest.raises(SourceError, match=r"one-1\.0-py3-none-any\.whl: not a wheel"):
        _simple_index.write(tmp_path, {"one": [good]})
