"""Debian's upstream tarballs become a CRAN mirror."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from landbridge.ecosystems._cran_index import parse_packages
from landbridge.errors import SourceError
from tests.lab import upstream_cran, upstream_cran_gaps

DESCRIPTION = """\
Package: PrettyThing
Version: 0.3-13
Title: Things, Prettily
Depends: R (>= 3.5.0), methods
Imports: cli (>= 3.4.0), glue,
    rlang
LinkingTo: cpp11
Suggests: testthat
License: GPL-2 | GPL-3
"""


def source(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "r-cran-prettything_0.3.13+dfsg.orig.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = len(text), 1_700_000_000, 1000
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_a_tarball_is_renamed_for_what_its_description_says(tmp_path: Path) -> None:
    root = "r-cran-prettything-0.3.13+git"
    files = {f"{root}/DESCRIPTION": DESCRIPTION, f"{root}/src/x.c": "int x;\n"}
    files[f"{root}/inst/other/DESCRIPTION"] = "Package: Other\nVersion: 9\n"
    description, tarball, _ = upstream_cran.repack(source(tmp_path, files), tmp_path, {})
    assert tarball.name == "PrettyThing_0.3-13.tar.gz"
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    assert names == [
        "PrettyThing/DESCRIPTION",
        "PrettyThing/inst/other/DESCRIPTION",
        "PrettyThing/src/x.c",
    ]
    assert upstream_cran.needs(description) == ["cli", "cpp11", "glue", "rlang"]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    old = source(tmp_path, {"x/DESCRIPTION": DESCRIPTION})
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found.append(upstream_cran.repack(old, tmp_path / name, {}).tarball.read_bytes())
    assert found[0] == found[1]


def test_a_stanza_reads_back_as_an_index_entry(tmp_path: Path) -> None:
    files = {"x/DESCRIPTION": DESCRIPTION, "x/src/x.c": "int x;\n"}
    description, tarball, _ = upstream_cran.repack(source(tmp_path, files), tmp_path, {})
    text = upstream_cran.stanza(description, tarball)
    fields = parse_packages(text)["PrettyThing"]
    assert fields["Imports"] == "cli (>= 3.4.0), glue, rlang"
    assert fields["NeedsCompilation"] == "yes"
    assert len(fields["MD5sum"]) == 32
    assert "Title" not in fields


def test_what_debian_took_out_comes_back_by_its_md5_sum(tmp_path: Path) -> None:
    script, page = "alert(1)\n", "<html>\n"
    listed = [f"{md5(text)} *{path}" for path, text in (("inst/a.js", script), ("b.html", page))]
    files = {"x/DESCRIPTION": DESCRIPTION, "x/MD5": "\n".join(listed) + "\n"}
    donors = {"a@1/dist/a.js": script.encode(), "a@1/dist/b.html": b"another page"}
    repacked = upstream_cran.repack(source(tmp_path, files), tmp_path, donors)
    assert repacked.lacking == ["b.html"]
    with tarfile.open(repacked.tarball) as archive:
        stream = archive.extractfile("PrettyThing/inst/a.js")
        assert stream is not None
        assert stream.read() == script.encode()


def test_an_edit_that_does_not_fit_is_an_error() -> None:
    files = {"src/Makevars": b"PKG_LIBS = -lother\n", "DESCRIPTION": b"Package: fs\n"}
    with pytest.raises(SourceError, match=r"fs: src/Makevars has no 'PKG_LIBS"):
        upstream_cran_gaps.close("fs", files, {})


def test_a_tarball_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no DESCRIPTION"):
        upstream_cran.repack(source(tmp_path, {"x/README": "hello"}), tmp_path, {})
