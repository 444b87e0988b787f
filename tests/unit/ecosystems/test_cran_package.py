"""What is read of a tarball, and its line in an index as R itself would write it."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import _cran_package
from landbridge.ecosystems._cran_index import write_index
from landbridge.errors import SourceError
from landbridge.files import sha256_of
from tests.unit.small_upstreams import r_package, tool

FIELDS = {
    "Type": "Package",
    "Version": "1.0-2",
    "Title": "Größe in µm",
    "Depends": "R (>= 3.5),\n        methods",
    "Imports": "\n    rlang (>= 1.0),\n    glue",
    "LinkingTo": "cpp11",
    "Suggests": "testthat",
    "License": "GPL (>= 2) | file LICENCE",
    "OS_type": "unix",
    "SystemRequirements": "GNU make,\n    libxml2",
    "NeedsCompilation": "yes",
    "Author": "Somebody [aut]",
}


def described(file: Path, name: str, cache: Path) -> dict[str, str]:
    return _cran_package.description(file, sha256_of(file), name, Cache(cache))


def test_our_stanza_is_the_row_that_r_writes(tmp_path: Path) -> None:
    """`tools::write_PACKAGES` on the same file; line ends inside a field do not count."""
    contrib = tmp_path / "theirs"
    file = r_package(contrib, "shop", FIELDS)
    fields = described(file, "shop", tmp_path / "cache")
    ours = tmp_path / "ours"
    ours.mkdir()
    shutil.copy(file, ours)
    write_index(ours, [_cran_package.index_stanza(fields, file)])
    code = """
        a <- commandArgs(TRUE)
        tools::write_PACKAGES(a[1], type = "source")
        read <- function(folder) {
            d <- read.dcf(file.path(folder, "PACKAGES"))
            d[] <- gsub("[[:space:]]+", " ", d)
            d
        }
        stopifnot(identical(read(a[1]), read(a[2])))
        cat(colnames(read(a[1])))
    """
    columns = tool("env", "LC_ALL=C.UTF-8", "Rscript", "--vanilla", "-e", code, contrib, ours)
    assert {"Package", "LinkingTo", "OS_type", "MD5sum", "NeedsCompilation"} <= set(columns.split())


def test_fields_are_unfolded_and_kept_between_runs(tmp_path: Path) -> None:
    file = r_package(tmp_path, "shop", FIELDS)
    fields = described(file, "shop", tmp_path / "cache")
    assert fields["SystemRequirements"] == "GNU make, libxml2"
    assert fields["Imports"] == "rlang (>= 1.0), glue"
    assert described(file, "shop", tmp_path / "cache") == fields


@pytest.mark.parametrize(("code", "compiles"), [("src/init.c", "yes"), ("R/a.R", "no")])
def test_what_its_author_left_out_is_seen_in_the_files(
    tmp_path: Path, code: str, compiles: str
) -> None:
    file = tmp_path / "shop_1.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for name, text in (("DESCRIPTION", b"Package: shop\nVersion: 1\n"), (code, b"x")):
            member = tarfile.TarInfo(f"shop/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    assert described(file, "shop", tmp_path / "cache")["NeedsCompilation"] == compiles


def test_what_is_no_such_package_is_refused(tmp_path: Path) -> None:
    file = r_package(tmp_path, "shop", FIELDS)
    with pytest.raises(SourceError, match="holds no other/DESCRIPTION"):
        described(file, "other", tmp_path / "cache")
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(file.read_bytes()[:50])
    with pytest.raises(SourceError, match="is no tarball of an R package"):
        described(broken, "shop", tmp_path / "cache")
    # A package under another one's folder name.
    text = b"Package: evil\nVersion: 1\nNeedsCompilation: no\n"
    with gzip.open(broken, "wb") as packed, tarfile.open(None, "w", packed) as tar:
        member = tarfile.TarInfo("shop/DESCRIPTION")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    with pytest.raises(SourceError, match="holds the R package evil, not shop"):
        described(broken, "shop", tmp_path / "cache")
