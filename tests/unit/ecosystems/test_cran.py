from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import cran
from landbridge.ecosystems._cran_choice import closure
from landbridge.ecosystems._cran_index import Need, needs, parse_packages, version_key
from landbridge.errors import InputError, SourceError
from landbridge.lock import Kept, Lock, Part, merge
from landbridge.stack import Stack
from tests.lab.serve import static
from tests.unit.small_upstreams import cran_mirror, tool

PACKAGES = """\
Package: IRkernel
Version: 1.3.2
Depends: R (>= 3.2.0)
Imports: repr (>= 0.4.99), methods, evaluate (>= 0.10),
        IRdisplay (>= 0.3.0.9999), utils
Suggests: testthat

Package: repr
Version: 1.1.7
Imports: utils, Matrix

Package: evaluate
Version: 0.9

Package: evaluate
Version: 1.0.5

Package: IRdisplay
Version: 1.1
Imports: methods, repr
LinkingTo: gone
"""


def test_folded_fields_are_read_and_the_highest_version_counts() -> None:
    packages = parse_packages(PACKAGES)
    assert needs(packages["IRkernel"]) == [
        Need("IRdisplay", ">=", "0.3.0.9999"),
        Need("evaluate", ">=", "0.10"),
        Need("repr", ">=", "0.4.99"),
    ]
    assert packages["evaluate"]["Version"] == "1.0.5"
    backwards = "\n\n".join(reversed(PACKAGES.split("\n\n")))
    assert parse_packages(backwards)["evaluate"]["Version"] == "1.0.5"
    other_r = PACKAGES + "\nPackage: evaluate\nVersion: 9.0\nPath: 4.9.0/Recommended\n"
    assert parse_packages(other_r)["evaluate"]["Version"] == "1.0.5"
    assert packages["repr"]["stanza"] == "Package: repr\nVersion: 1.1.7\nImports: utils, Matrix"


def test_recommended_packages_come_with_r_when_the_source_lacks_them() -> None:
    assert closure(["repr"], parse_packages(PACKAGES), "here") == {"repr": set()}
    more = parse_packages(PACKAGES + "\nPackage: Matrix\nVersion: 1.7\n")
    assert closure(["repr"], more, "here") == {"repr": set(), "Matrix": {"repr"}}


def test_what_is_missing_is_named() -> None:
    packages = parse_packages(PACKAGES)
    with pytest.raises(InputError, match="here has no package nosuch"):
        closure(["nosuch"], packages, "here")
    with pytest.raises(SourceError, match="IRdisplay needs gone"):
        closure(["IRkernel"], packages, "here")


def mirror(folder: Path, **packages: dict[str, str]) -> Path:
    """A mirror with these packages and nothing else; `_` in a key stands for `/`."""
    shutil.rmtree(folder, ignore_errors=True)
    stanzas = {
        name: {key.replace("_", "/"): value for key, value in fields.items()}
        for name, fields in packages.items()
    }
    cran_mirror(folder, stanzas)
    return folder


def stack(url: str, *packages: str) -> Stack:
    return Stack.model_validate(
        {
            "name": "s",
            "targets": ["el9-x86_64"],
            "r": {"packages": list(packages)},
            "sources": {"cran": {"url": url}},
        }
    )


def lock_of(part: Part) -> Lock:
    return merge("s", ["el9-x86_64"], [part])


def versions(part: Part) -> dict[str, str]:
    return {artifact.name: artifact.version for artifact in part.artifacts}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_versions_are_compared_as_r_does() -> None:
    """The order is R's own: asked of R itself."""
    order = ["0.9", "0.10", "1.0", "1.0-1", "1.0-10", "1.0.11", "1.1", "10.0"]
    mixed = order[::-1]
    assert sorted(mixed, key=version_key) == order
    code = "cat(as.character(sort(package_version(commandArgs(TRUE)))))"
    assert tool("Rscript", "-e", code, *mixed).split() == [
        version.replace("-", ".") for version in order
    ]
    assert Need("x", ">=", "1.0-2").is_met_by("1.0-10")
    assert not Need("x", ">", "1.0").is_met_by("1.0")
    assert Need("x", "<", "2").is_met_by("1.99")
    assert not Need("x", "==", "1.0").is_met_by("1.0.0"), "to R the longer one is later"


def test_the_same_inputs_give_the_same_part(tmp_path: Path, cache: Cache) -> None:
    folder = mirror(
        tmp_path / "cran",
        Top={"Version": "1.0", "Imports": "Low", "License": "MIT + file LICENSE"},
        Low={"Version": "0.5", "License": "GPL-3"},
    )
    with static({"cran": folder}) as url:
        first = cran.resolve(stack(f"{url}/cran", "Top"), cache)
        again = cran.resolve(stack(f"{url}/cran", "Top"), Cache(tmp_path / "two"))
    assert first == again
    assert {a.name: (a.license, a.required_by) for a in first.artifacts} == {
        "Top": ("MIT + file LICENSE", []),
        "Low": ("GPL-3", ["Top"]),
    }


def test_the_day_is_that_of_the_index_else_of_the_package(tmp_path: Path, cache: Cache) -> None:
    folder = mirror(
        tmp_path / "cran",
        A={"Version": "1", "Date_Publication": "2023-01-20 10:20:02 UTC", "Packaged": "2022-01-01"},
        B={"Version": "1", "Packaged": "2021-05-06 07:08:09 UTC; somebody"},
        C={"Version": "1"},
        D={"Version": "1", "Date_Publication": "2023-01-20 10:20:02 UTC"},
    )
    index = folder / "src/contrib/PACKAGES"
    # As on a mirror, the index leaves out what only the package says.
    lines = index.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(("Date/", "Packaged:")))
    index.write_text(text.replace("Package: D\n", "Package: D\nPublished: 2020-02-02\n"))
    found = cran.resolve(stack(folder.as_uri(), "A", "B", "C", "D"), cache)
    assert {a.name: a.released for a in found.artifacts} == {
        "A": "2023-01-20",
        "B": "2021-05-06",
        "C": "",
        "D": "2020-02-02",
    }


def test_the_packed_index_is_read_first(tmp_path: Path, cache: Cache) -> None:
    folder = mirror(tmp_path / "cran", A={"Version": "1"})
    index = folder / "src/contrib/PACKAGES"
    index.with_suffix(".gz").write_bytes(gzip.compress(index.read_bytes()))
    index.write_text("not what is read")
    assert versions(cran.resolve(stack(folder.as_uri(), "A"), cache)) == {"A": "1"}
    index.with_suffix(".gz").write_bytes(b"no gzip")
    with pytest.raises(SourceError, match=r"PACKAGES\.gz"):
        cran.resolve(stack(folder.as_uri(), "A"), cache)


def test_a_package_that_is_not_what_the_index_says_is_refused(tmp_path: Path, cache: Cache) -> None:
    folder = mirror(tmp_path / "cran", A={"Version": "1"})
    (folder / "src/contrib/A_1.tar.gz").write_bytes(b"changed")
    with pytest.raises(SourceError, match=r"A_1\.tar\.gz.*got md5"):
        cran.resolve(stack(folder.as_uri(), "A"), cache)


def test_a_need_that_the_mirror_cannot_meet_names_both(tmp_path: Path, cache: Cache) -> None:
    folder = mirror(
        tmp_path / "cran",
        Top={"Version": "1.0", "Imports": "Low (>= 2.0)"},
        Low={"Version": "1.10"},
    )
    with pytest.raises(SourceError, match=r"Top needs Low \(>= 2\.0\), there is 1\.10"):
        cran.resolve(stack(folder.as_uri(), "Top"), cache)


@pytest.fixture
def old(tmp_path: Path, cache: Cache) -> Lock:
    """A lock, whose mirror has gone on since."""
    mirror(
        tmp_path / "cran",
        Top={"Version": "1.0", "Imports": "Low (>= 1.0)"},
        Other={"Version": "1.0", "Imports": "Low (< 3)"},
        Low={"Version": "1.0"},
    )
    return lock_of(cran.resolve(stack((tmp_path / "cran").as_uri(), "Top", "Other"), cache))


def kept_then(
    tmp_path: Path, cache: Cache, old: Lock, *update: str, **packages: dict[str, str]
) -> Part:
    folder = mirror(tmp_path / "cran", **packages)
    wanted = stack(folder.as_uri(), "Top", "Other")
    return cran.resolve(wanted, cache, Kept(old, frozenset(update)))


def test_what_is_locked_stays_and_what_is_updated_moves(
    tmp_path: Path, cache: Cache, old: Lock
) -> None:
    later = {
        "Top": {"Version": "2.0", "Imports": "Low (>= 1.0), New"},
        "Other": {"Version": "2.0", "Imports": "Low"},
        "Low": {"Version": "2.0"},
        "New": {"Version": "0.1"},
    }
    same = kept_then(tmp_path, cache, old, **later)
    assert lock_of(same) == old
    moved = kept_then(tmp_path, cache, old, "Top", **later)
    assert versions(moved) == {"Top": "2.0", "New": "0.1", "Other": "1.0", "Low": "1.0"}
    assert next(a for a in moved.artifacts if a.name == "Other") in old.artifacts


def test_an_update_takes_along_what_it_must(tmp_path: Path, cache: Cache, old: Lock) -> None:
    """First what it needs (Low), and then who cannot bear that (Other)."""
    later = {
        "Top": {"Version": "2.0", "Imports": "Low (>= 3.0)"},
        "Other": {"Version": "2.0", "Imports": "Low"},
        "Low": {"Version": "3.0"},
    }
    moved = kept_then(tmp_path, cache, old, "Top", **later)
    assert versions(moved) == {"Top": "2.0", "Low": "3.0", "Other": "2.0"}
    held = {**later, "Other": {"Version": "1.0", "Imports": "Low (< 3)"}}
    with pytest.raises(SourceError, match=r"Other needs Low \(< 3\), there is 3\.0"):
        kept_then(tmp_path, cache, old, "Top", **held)


def test_what_left_the_mirror_stays_locked(tmp_path: Path, cache: Cache, old: Lock) -> None:
    same = kept_then(tmp_path, cache, old, Else={"Version": "1"})
    assert lock_of(same) == old


def test_a_superseded_file_is_in_the_archive(old: Lock) -> None:
    top = next(a for a in old.artifacts if a.name == "Top")
    base = top.url.removesuffix("/Top_1.0.tar.gz")
    archive = f"{base}/Archive/Top/Top_1.0.tar.gz"
    assert cran.alternatives(top) == [archive, top.url]
    moved = top.model_copy(update={"url": archive})
    assert cran.alternatives(moved) == [archive, top.url]
