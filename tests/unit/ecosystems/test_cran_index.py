"""What R itself makes of the index that is written without it."""

from __future__ import annotations

from pathlib import Path

from landbridge.ecosystems import _rds
from landbridge.ecosystems._cran_index import parse_packages, write_index
from tests.unit.small_upstreams import tool

PACKAGES = """\
Package: abc
Version: 1.0-1
Depends: R (>= 3.5),
        methods,
\tutils
Imports:
  def (>= 0.1),  ghi
License: MIT + file LICENSE
Suggests:
NeedsCompilation: no
MD5sum: 0123456789abcdef0123456789abcdef

Package: def
Version: 2.0
License: GPL (>= 2)
Priority: optional
Title: Größe in µm
"""


def index_of(folder: Path, text: str = PACKAGES) -> Path:
    write_index(folder, [fields["stanza"] for fields in parse_packages(text).values()])
    return folder


def asked(code: str, *arguments: str | Path) -> str:
    """What R says, in a UTF-8 locale, with its arguments as `a`."""
    whole = f"a <- commandArgs(TRUE); {code}"
    return tool("env", "LC_ALL=C.UTF-8", "Rscript", "--vanilla", "-e", whole, *arguments)


def test_r_reads_the_same_table_from_both_files(tmp_path: Path) -> None:
    code = """
        d <- read.dcf(file.path(a[1], "PACKAGES")); rownames(d) <- d[, "Package"]
        r <- readRDS(file.path(a[1], "PACKAGES.rds"))
        stopifnot(identical(d, r), is.matrix(r), nrow(r) == 2L)
        stopifnot(is.na(r["def", "Imports"]), identical(r[["abc", "Suggests"]], ""))
        cat(r[["def", "Title"]])
    """
    assert asked(code, index_of(tmp_path)) == "Größe in µm"


def test_available_packages_says_the_same_with_and_without_it(tmp_path: Path) -> None:
    code = """
        url <- paste0("file://", a[1])
        with <- available.packages(contriburl = url, filters = list())
        invisible(file.remove(file.path(a[1], "PACKAGES.rds")))
        without <- available.packages(contriburl = url, filters = list())
        stopifnot(identical(with, without), nrow(with) == 2L)
        cat(with[["abc", "Imports"]])
    """
    assert asked(code, index_of(tmp_path)) == "def (>= 0.1),  ghi"


def test_of_the_two_r_reads_the_packed_table(tmp_path: Path) -> None:
    """Else the test above would compare PACKAGES with itself."""
    index_of(tmp_path)
    (tmp_path / "PACKAGES").write_text("Package: other\nVersion: 1\n")
    code = 'cat(rownames(available.packages(paste0("file://", a[1]), filters = list())))'
    assert asked(code, tmp_path) == "abc def"


def test_the_same_index_has_the_same_bytes(tmp_path: Path) -> None:
    one, two = (index_of(tmp_path / name) for name in ("one", "two"))
    for name in ("PACKAGES", "PACKAGES.gz", "PACKAGES.rds"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
        assert int.from_bytes((one / "PACKAGES.rds").read_bytes()[4:8]) == 0, "no time in it"


def test_the_bytes_are_those_of_saverds(tmp_path: Path) -> None:
    """All but the number of the R that wrote it."""
    table = _rds.matrix(["a", "b"], {"Package": ["a", "b"], "N": [None, "x"]})
    code = """
        m <- matrix(c("a", "b", NA, "x"), 2, dimnames = list(c("a", "b"), c("Package", "N")))
        saveRDS(m, a[1], compress = FALSE, version = 2)
    """
    asked(code, tmp_path / "r.rds")
    expected = (tmp_path / "r.rds").read_bytes()
    written = _rds.serialize(table)
    assert written[:6] + written[10:] == expected[:6] + expected[10:]


def test_lists_frames_and_numbers_come_back(tmp_path: Path) -> None:
    times = _rds.Reals([1.5, 86400.0], {"class": _rds.Strings(["POSIXct", "POSIXt"])})
    one = _rds.frame(["a/a_1.tar.gz", "a/a_2.tar.gz"], {"size": _rds.Reals([1, 2]), "mtime": times})
    value = _rds.Items([one, one, None], {"names": _rds.Strings(["a", "b", "c"])})
    (tmp_path / "x.rds").write_bytes(_rds.serialize(value))
    code = """
        x <- readRDS(a[1])
        d <- data.frame(size = c(1, 2), mtime = .POSIXct(c(1.5, 86400)),
                        row.names = c("a/a_1.tar.gz", "a/a_2.tar.gz"))
        stopifnot(identical(x, list(a = d, b = d, c = NULL)))
    """
    asked(code, tmp_path / "x.rds")
