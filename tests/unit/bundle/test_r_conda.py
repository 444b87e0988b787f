"""The environment of conda's R is installed in a root as nodes have it, by py-rattler itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from landbridge.bundle.r_conda import Environment, install
from landbridge.errors import LandbridgeError
from tests.lab import upstream_conda, upstream_conda_package
from tests.lab.upstream_conda_package import PLACEHOLDER, File, Package

START = f"#!/bin/sh\nexec {PLACEHOLDER}/lib/R/bin/exec/R\n".encode()
FILES = ("linux-64/r-base-4.5.2-0.conda", "noarch/fonts-1-0.conda")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    shared = {"build": "0", "origin": "a test", "depends": [], "license": "MIT"}
    start = {"bin/R": File(START, 0o755)}
    fonts = {"share/fonts/mono.ttf": File(b"a font")}
    r = Package(name="r-base", version="4.5.2", files=start, **shared)  # type: ignore[arg-type]
    font = Package(name="fonts", version="1", files=fonts, noarch="generic", **shared)  # type: ignore[arg-type]
    for package in (r, font):
        upstream_conda_package.write(package, folder / "conda")
    upstream_conda.index(folder / "conda")
    return folder


@pytest.fixture
def hardened() -> Iterator[None]:
    """The builder's umask lets nobody read what it makes."""
    old = os.umask(0o077)
    yield
    os.umask(old)


def environment(digits: str, files: tuple[str, ...] = FILES) -> Environment:
    return Environment("r-4.5", digits * 12, files, 1000)


@pytest.mark.usefixtures("hardened")
def test_it_says_its_path_on_nodes_and_everybody_can_read_it(bundle: Path, tmp_path: Path) -> None:
    install(environment("a"), bundle, tmp_path)
    place = tmp_path / "opt/landbridge/envs/r-4.5" / ("a" * 12)
    text = (place / "bin/R").read_text()
    assert text == f"#!/bin/sh\nexec /opt/landbridge/envs/r-4.5/{'a' * 12}/lib/R/bin/exec/R\n"
    font = place / "share/fonts/mono.ttf"
    assert font.read_bytes() == b"a font"
    above = [path for path in font.parents if tmp_path in path.parents]
    assert len(above) == 7
    for path in (font, place / "bin/R", *above):
        assert path.stat().st_mode & stat.S_IROTH, path
    assert [path.name for path in place.parent.iterdir()] == ["a" * 12]


def test_what_is_there_stays_and_an_older_one_goes(bundle: Path, tmp_path: Path) -> None:
    install(environment("a"), bundle, tmp_path)
    home = tmp_path / "opt/landbridge/envs/r-4.5"
    before = (home / ("a" * 12) / "bin/R").stat()
    install(environment("a"), Path("/nonexistent"), tmp_path)
    assert (home / ("a" * 12) / "bin/R").stat() == before
    install(environment("b"), bundle, tmp_path)
    assert [path.name for path in home.iterdir()] == ["b" * 12]


def test_one_that_was_interrupted_is_not_there(bundle: Path, tmp_path: Path) -> None:
    lacking = (*FILES, "noarch/nosuch-1-0.conda")
    with pytest.raises(LandbridgeError, match="nosuch-1-0"):
        install(environment("a", lacking), bundle, tmp_path)
    assert not (tmp_path / "opt/landbridge/envs/r-4.5" / ("a" * 12)).exists()
    install(environment("a"), bundle, tmp_path)
    assert (tmp_path / "opt/landbridge/envs/r-4.5" / ("a" * 12) / "bin/R").is_file()
