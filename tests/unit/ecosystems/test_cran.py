from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import cran
from landbridge.ecosystems._cran_choice import closure
from landbridge.ecosystems._cran_index import Need, needs, parse_packages, version_key
from landbridge.errors import InputError, SourceError
from landbridge.lock import Kept, Lock, Part, merge
from landbridge.stack import RProject, Stack
from tests.lab.serve import static
from tests.unit.small_upstreams import cran_archive, cran_mirror, tool

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


def stack(url: str, *packages: str, **more: Any) -> Stack:
    return Stack.model_validate(
        {
            "name": "s",
            "targets": ["el9-x86_64"],
            "r": {"packages": list(packages), **more},
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


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A mirror whose Archive has old versions of `glue`, and of what nobody has any more."""
    folder = mirror(
        tmp_path / "cran",
        Top={"Version": "1.0", "Imports": "glue (>= 1.6)"},
        glue={"Version": "1.8.0", "License": "MIT"},
        rlang={"Version": "1.1"},
    )
    fields = {
        "License": "MIT + file LICENSE",
        "Imports": "rlang,\n    methods",
        "NeedsCompilation": "yes",
        "Packaged": "2022-02-23 22:50:25 UTC; somebody",
    }
    cran_archive(folder, "glue", Version="1.6.2", **fields)
    cran_archive(folder, "glue", Version="1.5.0", **fields)
    cran_archive(folder, "gone", Version="0.1")
    return folder


def paths(part: Part) -> dict[str, list[str]]:
    return {a.path.removeprefix("cran/src/contrib/"): a.targets for a in part.artifacts}


def test_a_pinned_version_comes_from_the_archive_with_what_it_needs(
    shop: Path, cache: Cache
) -> None:
    wanted = stack(shop.as_uri(), "Top", "glue ==1.6.2")
    part = cran.resolve(wanted, cache)
    assert paths(part) == {
        "Top_1.0.tar.gz": ["site"],
        "glue_1.6.2.tar.gz": ["site"],
        "rlang_1.1.tar.gz": ["site"],
    }
    glue = next(a for a in part.artifacts if a.name == "glue")
    assert glue.url.endswith("/src/contrib/Archive/glue/glue_1.6.2.tar.gz")
    assert (glue.license, glue.released) == ("MIT + file LICENSE", "2022-02-23")
    assert glue.record["compiles"] is True
    assert next(a for a in part.artifacts if a.name == "rlang").required_by == ["glue"]
    assert cran.resolve(wanted, Cache(cache.root.parent / "another")) == part


def test_a_pin_of_what_the_index_has_is_the_same_as_none(shop: Path, cache: Cache) -> None:
    url = shop.as_uri()
    assert cran.resolve(stack(url, "glue==1.8.0"), cache) == cran.resolve(stack(url, "glue"), cache)


def test_a_version_that_is_nowhere_is_named_with_its_mend(shop: Path, cache: Cache) -> None:
    with pytest.raises(InputError) as caught:
        cran.resolve(stack(shop.as_uri(), "glue ==1.6.3"), cache)
    assert "r.packages: " in caught.value.message
    assert "has no glue 1.6.3: 1.8.0 is in its index" in caught.value.message
    assert "Archive/glue/glue_1.6.3.tar.gz is not there" in caught.value.message
    assert "Archive" in caught.value.mend


def test_a_pin_that_another_package_cannot_bear_names_both(shop: Path, cache: Cache) -> None:
    with pytest.raises(InputError, match=r"Top needs glue \(>= 1\.6\), there is 1\.5\.0") as caught:
        cran.resolve(stack(shop.as_uri(), "Top", "glue ==1.5.0"), cache)
    assert "pin" in caught.value.mend


def test_an_archive_with_another_package_under_the_name_is_refused(
    shop: Path, cache: Cache
) -> None:
    archive = shop / "src/contrib/Archive"
    (archive / "glue/glue_1.4.0.tar.gz").write_bytes(
        (archive / "gone/gone_0.1.tar.gz").read_bytes()
    )
    with pytest.raises(SourceError, match="holds no glue/DESCRIPTION"):
        cran.resolve(stack(shop.as_uri(), "glue ==1.4.0"), cache)
    (archive / "glue/glue_1.3.0.tar.gz").write_bytes(
        (archive / "glue/glue_1.5.0.tar.gz").read_bytes()
    )
    with pytest.raises(SourceError, match=r"glue_1\.3\.0\.tar\.gz: holds version 1\.5\.0"):
        cran.resolve(stack(shop.as_uri(), "glue ==1.3.0"), cache)
    (archive / "glue/glue_1.2.0.tar.gz").write_bytes(b"no tarball")
    with pytest.raises(SourceError, match="is no tarball of an R package"):
        cran.resolve(stack(shop.as_uri(), "glue ==1.2.0"), cache)


def project(*pins: str, file: str = "shop/renv.lock") -> RProject:
    return RProject(file=file, pins=list(pins))


def test_a_projects_versions_are_carried_beside_the_sites(shop: Path, cache: Cache) -> None:
    wanted = stack(
        shop.as_uri(),
        "Top",
        projects=[project("glue ==1.6.2", "gone ==0.1"), project("glue ==1.8.0", file="two")],
    )
    part = cran.resolve(wanted, cache)
    assert paths(part) == {
        "Archive/glue/glue_1.6.2.tar.gz": ["projects"],
        "Top_1.0.tar.gz": ["site"],
        "glue_1.8.0.tar.gz": ["projects", "site"],
        "gone_0.1.tar.gz": ["projects"],
        "rlang_1.1.tar.gz": ["projects"],
    }
    requirers = {(a.name, a.version): a.required_by for a in part.artifacts}
    assert requirers["glue", "1.8.0"] == ["Top"]
    assert requirers["rlang", "1.1"] == ["glue"]
    assert requirers["gone", "0.1"] == []
    assert cran.resolve(wanted, Cache(cache.root.parent / "another")) == part


def test_the_sites_version_stands_in_contrib_even_if_a_project_has_a_newer_one(
    shop: Path, cache: Cache
) -> None:
    wanted = stack(shop.as_uri(), "glue ==1.5.0", projects=[project("glue ==1.6.2")])
    assert paths(cran.resolve(wanted, cache)) == {
        "Archive/glue/glue_1.6.2.tar.gz": ["projects"],
        "glue_1.5.0.tar.gz": ["site"],
        "rlang_1.1.tar.gz": ["projects", "site"],
    }


def test_without_the_site_the_newest_of_the_projects_stands_in_contrib(
    shop: Path, cache: Cache
) -> None:
    wanted = stack(
        shop.as_uri(), projects=[project("glue ==1.6.2"), project("glue ==1.5.0", file="two")]
    )
    assert set(paths(cran.resolve(wanted, cache))) == {
        "Archive/glue/glue_1.5.0.tar.gz",
        "glue_1.6.2.tar.gz",
        "rlang_1.1.tar.gz",
    }


@pytest.mark.parametrize(
    ("pins", "fault"),
    [
        (["glue ==9.9"], r"shop/renv\.lock: .*has no glue 9\.9"),
        (["Top ==1.0", "glue ==1.5.0"], r"shop/renv\.lock: Top needs glue \(>= 1\.6\)"),
        (["nosuch ==1.0"], r"shop/renv\.lock: .*has no nosuch 1\.0: no version is in its index"),
    ],
)
def test_what_a_project_cannot_get_is_named_with_its_file(
    shop: Path, cache: Cache, pins: list[str], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        cran.resolve(stack(shop.as_uri(), projects=[project(*pins)]), cache)


def test_base_packages_of_a_project_come_with_r(shop: Path, cache: Cache) -> None:
    wanted = stack(shop.as_uri(), projects=[project("methods ==4.2.2", "rlang ==1.1")])
    assert set(paths(cran.resolve(wanted, cache))) == {"rlang_1.1.tar.gz"}


def test_pins_and_projects_stay_locked_when_the_mirror_goes_on(
    shop: Path, cache: Cache, tmp_path: Path
) -> None:
    def wanted(glue: str) -> Stack:
        return stack(shop.as_uri(), "Top", "rlang", projects=[project(glue)])

    old = lock_of(cran.resolve(wanted("glue ==1.6.2"), cache))
    mirror(
        shop,
        Top={"Version": "2.0", "Imports": "glue (>= 1.6)"},
        glue={"Version": "1.9"},
        rlang={"Version": "1.2"},
    )
    cran_archive(shop, "glue", Version="1.8.0", License="MIT")
    cran_archive(shop, "glue", Version="1.7.0", License="MIT")

    def later(glue: str, *update: str, cache: Cache = cache) -> Part:
        return cran.resolve(wanted(glue), cache, Kept(old, frozenset(update)))

    assert lock_of(later("glue ==1.6.2")) == old
    moved = paths(later("glue ==1.7.0", "Top"))
    assert set(moved) == {
        "Archive/glue/glue_1.7.0.tar.gz",
        "Top_2.0.tar.gz",
        "glue_1.8.0.tar.gz",
        "rlang_1.1.tar.gz",
    }
    forgetful = Cache(tmp_path / "forgetful")
    with pytest.raises(SourceError, match=r"Archive/.*\.tar\.gz: No such file"):
        later("glue ==1.7.0", cache=forgetful)


def test_the_system_requirements_of_a_package_are_locked_with_it(
    tmp_path: Path, cache: Cache
) -> None:
    folder = mirror(
        tmp_path / "cran",
        xml2={"Version": "1", "SystemRequirements": "libxml2: libxml2-devel (rpm)"},
        md={"Version": "1", "SystemRequirements": "pandoc (>= 1.14)", "NeedsCompilation": "no"},
        odd={"Version": "1", "SystemRequirements": "a Frobnicator", "NeedsCompilation": "yes"},
    )
    # As on a mirror, the index does not tell.
    index = folder / "src/contrib/PACKAGES"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(line for line in lines if not line.startswith("SystemReq")))
    with pytest.raises(InputError, match=r"odd needs of the system 'a Frobnicator'"):
        cran.resolve(stack(folder.as_uri(), "xml2", "md", "odd"), cache)
    own = {"odd": {"run": ["frob-libs"], "build": ["frob-devel"]}}
    part = cran.resolve(stack(folder.as_uri(), "xml2", "md", "odd", system_requirements=own), cache)
    assert {a.name: a.record for a in part.artifacts} == {
        "xml2": {
            "compiles": False,
            "run": {"el9-x86_64": ["libxml2"]},
            "build": {"el9-x86_64": ["libxml2-devel"]},
        },
        "md": {"compiles": False, "run": {"el9-x86_64": ["pandoc"]}, "build": {}},
        "odd": {
            "compiles": True,
            "run": {"el9-x86_64": ["frob-libs"]},
            "build": {"el9-x86_64": ["frob-devel"]},
        },
    }
    assert cran.system_requirements(part) == {
        "el9-x86_64": {
            "libxml2": ["xml2"],
            "libxml2-devel": ["xml2"],
            "pandoc": ["md"],
            "frob-libs": ["odd"],
            "frob-devel": ["odd"],
        }
    }


def test_a_tarball_is_opened_once_in_its_life(
    shop: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = stack(shop.as_uri(), "Top", projects=[project("glue ==1.6.2")])
    part = cran.resolve(wanted, cache)

    def never(*_arguments: object) -> None:
        raise AssertionError("a tarball was opened again")

    monkeypatch.setattr("landbridge.ecosystems._cran_package.tarfile.open", never)
    assert cran.resolve(wanted, cache) == part


def bundle(part: Part, cache: Cache, root: Path) -> Path:
    """The part as a bundle has it; returns the URL's folder for R."""
    for artifact in part.artifacts:
        place = root / artifact.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cache.path(artifact.sha256), place)
    cran.index(root, lock_of(part), cache)
    return root / "cran"


def test_r_finds_the_sites_versions_in_the_index_and_the_others_in_the_archive(
    shop: Path, cache: Cache, tmp_path: Path
) -> None:
    wanted = stack(
        shop.as_uri(),
        "Top",
        "glue ==1.6.2",
        projects=[project("glue ==1.5.0"), project("glue ==1.8.0", file="two")],
    )
    folder = bundle(cran.resolve(wanted, cache), cache, tmp_path / "bundle")
    code = """
        url <- paste0("file://", commandArgs(TRUE)[1])
        a <- available.packages(repos = url, filters = list())
        stopifnot(a["glue", "Version"] == "1.6.2", a["glue", "NeedsCompilation"] == "yes")
        got <- download.packages(rownames(a), tempdir(), available = a, repos = url, quiet = TRUE)
        stopifnot(nrow(got) == 3L, tools::md5sum(got[, 2]) == a[got[, 1], "MD5sum"])
        # What remotes::install_version and pak do for a version that the index does not have.
        archive <- readRDS(gzcon(url(paste0(url, "/src/contrib/Meta/archive.rds"), "rb")))
        stopifnot(is.data.frame(archive$glue), inherits(archive$glue$mtime, "POSIXct"))
        paths <- rownames(archive$glue)
        for (path in paths) {
            file <- file.path(tempdir(), basename(path))
            download.file(paste0(url, "/src/contrib/Archive/", path), file, quiet = TRUE)
            stopifnot(file.size(file) == archive$glue[path, "size"])
        }
        cat(paths, as.character(as.Date(archive$glue$mtime)))
    """
    assert tool("Rscript", "--vanilla", "-e", code, folder).split() == [
        "glue/glue_1.5.0.tar.gz",
        "glue/glue_1.8.0.tar.gz",
        "2022-02-23",
        "1980-01-01",
    ]


def test_an_archive_without_files_has_an_empty_list(
    shop: Path, cache: Cache, tmp_path: Path
) -> None:
    folder = bundle(cran.resolve(stack(shop.as_uri(), "glue"), cache), cache, tmp_path / "bundle")
    code = (
        "x <- readRDS(commandArgs(TRUE)[1]); stopifnot(is.list(x)); cat(length(x), is.null(x$glue))"
    )
    file = folder / "src/contrib/Meta/archive.rds"
    assert tool("Rscript", "--vanilla", "-e", code, file) == "0 TRUE"
