"""What is compiled, what is taken from the cache, and what becomes of a package that fails."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle import r_binaries, r_conda, r_content, r_root, r_work
from landbridge.bundle.build import Options, _inputs_hash
from landbridge.bundle.fetch import Cache
from landbridge.bundle.plan import Compiling, _compiling, _Looked
from landbridge.ecosystems._cran_index import parse_packages
from landbridge.errors import InputError, LandbridgeError, SourceError
from landbridge.lock import Artifact, Lock
from landbridge.stack import Stack

TARGET = "el9-x86_64"
# Stands for R CMD INSTALL: the source's folder is the installed package.
INSTALL = """
cd "$1/source"/* || exit 1
name=${PWD##*/}
echo "$name" >> "$2"
if [ -e broken ]; then echo "x.c:1: error: it is broken"; exit 1; fi
mkdir "$1/library/$name"
cp -R . "$1/library/$name"
ls "$1/needs" > "$1/library/$name/neighbours"
echo "Built: R 4.2.2; x86_64; 1980-01-01 00:00:00 UTC; unix" >> "$1/library/$name/DESCRIPTION"
"""


class FakeRoot(r_root.Root):
    """Has no system in it; keeps a list of what was installed."""

    def start(self, _command: Any, work: Path, output: Any) -> subprocess.Popen[bytes]:
        script = ["sh", "-c", INSTALL, "sh", str(work), str(self.place / "installed")]
        return subprocess.Popen(script, stdout=output, stderr=output)


def conda_packages(*names: str, sha256: str = "1" * 64) -> list[Artifact]:
    """conda packages of version 4.5.2, all for `linux-64`."""
    places = {name: f"conda/linux-64/{name}-4.5.2-0.conda" for name in names}
    return [
        Artifact(
            ecosystem="conda",
            name=name,
            version="4.5.2",
            build="0",
            path=path,
            url="https://mirror.example/x",
            sha256=sha256,
            size=1000,
        )
        for name, path in places.items()
    ]


class Carried:
    """A stack of small R packages, whose sources are in a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, Cache(folder / "cache")
        self.stack = Stack(name="s", targets=[TARGET])
        self.rpms = [rpm("R-core", "0:4.2.2"), rpm("R-core-devel", "0:4.2.2")]
        self.artifacts: dict[str, Artifact] = {}
        # Packages of the conda environment that R is in, where it is not the RPM's.
        self.conda: list[Artifact] = []

    def add(self, name: str, imports: str = "", **files: str) -> None:
        """Carry a package, in place of one of the same name."""
        entry = f"Package: {name}\nVersion: 1.0\n"
        entry += f"Imports: {imports}\n" if imports else ""
        tarball = self.folder / "source.tar.gz"
        with gzip.GzipFile(tarball, "wb", mtime=0) as raw, tarfile.open(None, "w", raw) as tar:
            for file, text in {"DESCRIPTION": entry, **files}.items():
                member = tarfile.TarInfo(f"{name}/{file}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        size = tarball.stat().st_size
        self.artifacts[name] = Artifact(
            ecosystem="cran",
            name=name,
            version="1.0",
            path=f"cran/src/contrib/{name}_1.0.tar.gz",
            url="https://mirror.example/x",
            sha256=self.cache.store(tarball).name,
            size=size,
            index_entry=entry.strip(),
        )

    @property
    def lock(self) -> Lock:
        artifacts = [*self.rpms, *self.artifacts.values(), *self.conda]
        provider = "conda" if self.conda else "rpm"
        names = ["r"] if self.conda else []
        return Lock(
            stack="s",
            wanted={"r": {"provider": provider, "environments": names}},
            targets=[TARGET],
            environments={n: [a.path.removeprefix("conda/") for a in self.conda] for n in names},
            artifacts=artifacts,
        )

    def make(self, bundle: str) -> tuple[set[str], Path]:
        """Build; what was compiled for it, and its repository."""
        log = self.folder / "installed"
        log.write_text("")
        root = self.folder / bundle
        r_binaries.make(root, self.lock, self.cache, lambda _line: None)
        return set(log.read_text().split()), root / "cran/binaries/el9-x86_64/4.2/src/contrib"

    def plan(self) -> Compiling:
        cache = _Looked(self.cache.root)
        (work,) = r_work.work_of(self.lock, cache)
        return _compiling(work, cache)


def rpm(name: str, version: str, *required_by: str, sha256: str = "1" * 64) -> Artifact:
    return Artifact(
        ecosystem="rpm",
        name=name,
        version=version,
        build="1.el9.x86_64",
        targets=[TARGET],
        path=f"rpm/{TARGET}/Packages/{name}.rpm",
        url="https://mirror.example/x",
        sha256=sha256,
        size=1,
        installed_size=1000,
        required_by=list(required_by),
    )


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Carried:
    monkeypatch.setattr(r_root, "make", lambda *_: FakeRoot(tmp_path, "/library"))
    monkeypatch.setattr(r_root, "NOBODY", os.getuid())
    found = Carried(tmp_path)
    found.add("low")
    found.add("middle", "low")
    found.add("top", "middle, utils")
    found.add("other")
    return found


def test_each_package_is_built_with_what_it_needs_and_nothing_else(carried: Carried) -> None:
    compiled, contrib = carried.make("one")
    assert compiled == {"low", "middle", "top", "other"}
    with tarfile.open(contrib / "top_1.0.tar.gz") as tar:
        found = tar.extractfile("top/neighbours")
        assert found is not None
        assert found.read().split() == [b"low", b"middle"]
        assert {(m.mtime, m.uid, m.uname) for m in tar} == {(315532800, 0, "")}


def test_the_index_is_of_the_compiled_files(carried: Carried) -> None:
    _, contrib = carried.make("one")
    packages = parse_packages((contrib / "PACKAGES").read_text())
    assert packages["top"]["Built"].startswith("R 4.2.2; ")
    assert packages["top"]["Imports"] == "middle, utils"
    assert (contrib / "PACKAGES.rds").is_file()
    assert gzip.decompress((contrib / "PACKAGES.gz").read_bytes()).startswith(b"Package: low")


def test_an_unchanged_build_compiles_nothing_and_gives_the_same_files(carried: Carried) -> None:
    _, one = carried.make("one")
    compiled, two = carried.make("two")
    assert compiled == set()
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {
        p.name: p.read_bytes() for p in two.iterdir()
    }


def test_one_changed_package_is_compiled_again_with_those_built_on_it(carried: Carried) -> None:
    carried.make("one")
    carried.add("middle", "low", news="changed")
    assert carried.plan().packages == ["middle 1.0", "top 1.0"]
    compiled, _ = carried.make("two")
    assert compiled == {"middle", "top"}


def test_another_rpm_of_the_root_compiles_everything_and_one_beside_it_nothing(
    carried: Carried,
) -> None:
    carried.rpms += [rpm("gcc", "0:11", "R-core-devel"), rpm("podman", "0:5")]
    carried.make("one")
    carried.rpms[-1] = rpm("podman", "0:6", sha256="2" * 64)
    assert carried.make("two")[0] == set()
    carried.rpms[-2] = rpm("gcc", "0:12", "R-core-devel", sha256="2" * 64)
    assert carried.make("three")[0] == {"low", "middle", "top", "other"}


def test_a_package_that_fails_is_named_with_its_errors_and_its_log(carried: Carried) -> None:
    carried.add("middle", "low", broken="yes")
    with pytest.raises(SourceError) as failed:
        carried.make("one")
    message = str(failed.value)
    assert "el9-x86_64, R 4.2.2" in message
    assert "middle 1.0" in message
    assert "x.c:1: error: it is broken" in message
    assert "not tried, for they need these: top" in message
    log = carried.folder / "cache/r-binaries/logs/el9-x86_64/4.2/middle_1.0.log"
    assert str(log) in message
    assert log.is_file()


def test_the_build_after_a_failure_goes_on_with_what_is_done(carried: Carried) -> None:
    carried.add("middle", "low", broken="yes")
    with pytest.raises(SourceError):
        carried.make("one")
    carried.add("middle", "low")
    compiled, _ = carried.make("two")
    assert compiled == {"middle", "top"}
    scratch = carried.folder / "cache/r-binaries/scratch"
    assert list(scratch.iterdir()) == []


def test_a_result_that_was_damaged_in_the_cache_is_made_again(carried: Carried) -> None:
    _, contrib = carried.make("one")
    damaged = carried.cache.path(sha256_in_cache(carried, contrib / "low_1.0.tar.gz"))
    damaged.unlink()
    damaged.write_bytes(b"something else")
    assert carried.make("two")[0] == {"low"}


def sha256_in_cache(carried: Carried, file: Path) -> str:
    status = file.stat()
    places = (carried.cache.root / "sha256").rglob("*")
    return next(p.name for p in places if p.stat().st_ino == status.st_ino)


def test_the_plan_tells_names_and_space_and_does_nothing(carried: Carried) -> None:
    before = sorted(carried.folder.rglob("*"))
    plan = carried.plan()
    assert plan.packages == ["low 1.0", "middle 1.0", "other 1.0", "top 1.0"]
    assert plan.root_bytes > 2000
    assert plan.result_bytes > 0
    assert sorted(carried.folder.rglob("*")) == before
    carried.make("one")
    assert carried.plan() == Compiling(TARGET, "4.2.2", [], 4, {}, 0, 0)


def test_without_a_compiler_in_the_lock_it_says_what_to_add(carried: Carried) -> None:
    carried.rpms = carried.rpms[:1]
    with pytest.raises(InputError, match=r"el9-x86_64 has no RPM R-core-devel in the lock"):
        carried.make("one")


def test_a_target_without_r_is_named(carried: Carried) -> None:
    carried.rpms = []
    with pytest.raises(InputError, match="there is no R in the lock for el9-x86_64"):
        carried.make("one")


def test_a_package_of_the_site_that_needs_another_r_is_refused(carried: Carried) -> None:
    entry = "Package: low\nVersion: 1.0\nDepends: R (>= 4.3)"
    carried.artifacts["low"] = carried.artifacts["low"].model_copy(update={"index_entry": entry})
    with pytest.raises(InputError, match=r"low 1.0 needs R \(>= 4.3\), and R is 4.2.2"):
        carried.make("one")


def test_a_package_of_a_project_that_does_not_fit_is_left_to_the_sources(carried: Carried) -> None:
    entry = "Package: other\nVersion: 1.0\nDepends: R (>= 4.3)"
    changes = {"index_entry": entry, "targets": ["projects"]}
    carried.artifacts["other"] = carried.artifacts["other"].model_copy(update=changes)
    _, contrib = carried.make("one")
    assert not (contrib / "other_1.0.tar.gz").exists()
    assert carried.plan().left_out == {"other": "needs R (>= 4.3), and R is 4.2.2"}


@pytest.fixture
def with_conda(carried: Carried, monkeypatch: pytest.MonkeyPatch) -> Carried:
    """R is conda's; its environment is not installed, for there is no channel."""
    monkeypatch.setattr(r_conda, "install", lambda *_: None)
    carried.rpms = [rpm(name, "0:1") for name in ("bash", "coreutils", "sed")]
    carried.conda = conda_packages("r-base", "libcurl")
    return carried


def test_what_is_compiled_for_condas_r_has_a_place_of_its_own(with_conda: Carried) -> None:
    assert with_conda.make("one")[0] == {"low", "middle", "top", "other"}
    contrib = with_conda.folder / "one/cran/binaries/el9-x86_64/conda-4.5/src/contrib"
    assert (contrib / "top_1.0.tar.gz").is_file()
    found = r_content.section(contrib.parents[5], with_conda.stack, with_conda.lock)
    assert found["binaries"] == {TARGET: {"4.5": "cran/binaries/el9-x86_64/conda-4.5"}}


def test_any_other_package_of_condas_environment_compiles_everything(with_conda: Carried) -> None:
    with_conda.make("one")
    assert with_conda.make("two")[0] == set()
    with_conda.conda = conda_packages("r-base", "libcurl", sha256="2" * 64)
    assert with_conda.make("three")[0] == {"low", "middle", "top", "other"}


def test_condas_programs_come_before_the_systems(with_conda: Carried) -> None:
    (work,) = r_work.work_of(with_conda.lock, with_conda.cache)
    assert work.conda is not None
    given = r_work.variables(work.conda)
    assert given["PATH"].split(":")[0] == f"{work.conda.prefix}/bin"
    assert given["CONDA_PREFIX"] == work.conda.prefix


def test_the_plan_counts_condas_environment_with_the_root(with_conda: Carried) -> None:
    (work,) = r_work.work_of(with_conda.lock, with_conda.cache)
    assert with_conda.plan().root_bytes == work.root.size + 10000


def test_two_environments_of_one_r_are_refused(with_conda: Carried) -> None:
    lock = with_conda.lock
    both = {"r": lock.environments["r"], "s": lock.environments["r"]}
    wanted = {"r": {"provider": "conda", "environments": ["r", "s"]}}
    twice = lock.model_copy(update={"environments": both, "wanted": wanted})
    with pytest.raises(InputError, match=r"two environments have the R of .*conda-4\.5"):
        r_work.work_of(twice, with_conda.cache)


def test_with_and_without_binaries_are_different_inputs(tmp_path: Path) -> None:
    for name in ("s.yml", "s.lock"):
        (tmp_path / name).write_text("the same")
    places = {"stack_file": tmp_path / "s.yml", "output": tmp_path / "o", "cache": tmp_path}
    hashes = {_inputs_hash(Options(**places, r_binaries=wanted)) for wanted in (False, True)}
    assert len(hashes) == 2


def test_without_privilege_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    spec = r_root.Spec(TARGET, [], "0" * 64)
    with pytest.raises(LandbridgeError, match="podman unshare landbridge bundle build"):
        r_root.make(spec, Path("bundle"), Path("roots"), "/library")


def test_the_root_holds_the_compiler_what_it_needs_and_what_packages_ask_for() -> None:
    rpms = [
        rpm("R-core", "0:4.2.2"),
        rpm("R-core-devel", "0:4.2.2"),
        rpm("gcc", "0:11", "R-core-devel"),
        rpm("glibc", "0:2", "gcc", "podman"),
        rpm("sed", "0:4", "podman"),
        rpm("libxml2-devel", "0:2"),
        rpm("podman", "0:5"),
    ]
    lock = Lock(stack="s", targets=[TARGET], artifacts=rpms)
    found = r_root.spec(lock, TARGET, "rpm", ["libxml2-devel"])
    assert [rpm.name for rpm in found.rpms] == [
        *("R-core", "R-core-devel", "gcc", "glibc", "sed", "libxml2-devel")
    ]
    assert found.key != r_root.spec(lock, TARGET, "rpm").key


def test_content_tells_what_roles_want_to_know(carried: Carried) -> None:
    needs = {"run": {TARGET: ["libxml2"]}, "build": {TARGET: ["libxml2-devel"]}}
    record = {"compiles": True, **needs}
    carried.artifacts["low"] = carried.artifacts["low"].model_copy(
        update={"record": record, "targets": ["site"], "required_by": ["middle"]}
    )
    carried.artifacts["other"] = carried.artifacts["other"].model_copy(
        update={"targets": ["projects"]}
    )
    carried.rpms += [rpm("libxml2", "0:2"), rpm("libxml2-devel", "0:2")]
    bundle = carried.make("one")[1].parents[5]
    found = r_content.section(bundle, carried.stack, carried.lock)
    packages = {package.pop("name"): package for package in found.pop("packages")}
    assert packages["low"] == {
        "version": "1.0",
        "requires": [],
        "compiles": True,
        "path": "cran/src/contrib/low_1.0.tar.gz",
    }
    assert packages["middle"]["requires"] == ["low"]
    assert "other" not in packages
    assert found == {
        "provider": "rpm",
        "environments": [],
        "versions": {TARGET: ["4.2.2"]},
        "binaries": {TARGET: {"4.2": "cran/binaries/el9-x86_64/4.2"}},
        "system": {TARGET: {"run": ["libxml2"], "build": ["libxml2-devel"]}},
    }
    assert json.dumps(found)
