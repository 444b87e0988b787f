"""R packages and the RPMs they need, locked together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from landbridge.errors import InputError
from landbridge.lock import Artifact, Lock, load_lock
from landbridge.lock_diff import diff
from landbridge.lock_file import Inputs, check_lock
from landbridge.locking import lock_stack
from tests.unit import small_upstreams as small
from tests.unit.chosen_ecosystems import only_ecosystems
from tests.unit.ecosystems import rpm_upstreams
from tests.unit.ecosystems.rpm_upstreams import Rpm

TARGET = "el10-x86_64"
R_PACKAGES = {
    "Top": {"Version": "1.0", "Depends": "R (>= 4.0)", "Imports": "xml2"},
    "xml2": {"Version": "1.3", "SystemRequirements": "libxml2: libxml2-devel (rpm)"},
}
RPMS = [
    Rpm("R-core", "4.5.0"),
    Rpm("libxml2", "2.9", others=(("libxml2-devel",),)),
    Rpm("python3", "3.12.11"),
]


class Site(NamedTuple):
    """A stack with R, its upstreams, and nothing else that would be resolved."""

    folder: Path
    inputs: Inputs

    def offer(self, *rpms: Rpm, **packages: dict[str, str]) -> None:
        for name in ("rpm", "cran"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        rpm_upstreams.repository(self.folder / "rpm", rpms)
        small.cran_mirror(self.folder / "cran", packages)

    def want(self, **r: Any) -> None:
        source = {
            "id": "base",
            "baseurl": (self.folder / "rpm").as_uri(),
            "gpgkey": (self.folder / "key").as_uri(),
        }
        stack = {
            "name": "s",
            "targets": [TARGET],
            "rpm": {"packages": ["R-core"]},
            "r": r,
            "sources": {
                "rpm": {TARGET: [source]},
                "cran": {"url": (self.folder / "cran").as_uri()},
            },
        }
        self.inputs.stack_file.write_text(yaml.dump(stack))

    def lock(self, *names: str) -> Lock:
        lock_stack(self.inputs, lambda _line: None, names=names)
        return load_lock(self.inputs.lock_path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "key").write_text("a key\n")
    made = Site(tmp_path, Inputs(stack_file=tmp_path / "s.yml", cache=tmp_path / "cache"))
    made.offer(*RPMS, **R_PACKAGES)
    made.want(packages=["Top"])
    with only_ecosystems("cran", "rpm"):
        yield made


def reasons(lock: Lock) -> dict[str, list[str]]:
    return {a.name: a.required_by for a in lock.of("rpm") if a.name.startswith("lib")}


def found(lock: Lock, name: str) -> Artifact:
    return next(artifact for artifact in lock.artifacts if artifact.name == name)


def test_the_rpms_of_r_packages_are_locked_with_them(site: Site) -> None:
    lock = site.lock()
    assert reasons(lock) == {"libxml2": ["cran:xml2"], "libxml2-devel": ["cran:xml2"]}
    assert lock.wanted["rpm"]["packages"] == ["R-core"]
    text = site.inputs.lock_path.read_bytes()
    site.inputs.lock_path.unlink()
    shutil.rmtree(site.folder / "cache")
    site.lock()
    assert site.inputs.lock_path.read_bytes() == text


def test_an_rpm_that_no_source_has_is_named_with_its_r_package(site: Site) -> None:
    site.offer(RPMS[0], RPMS[2], Rpm("libxml2", "2.9"), **R_PACKAGES)
    with pytest.raises(InputError) as caught:
        site.lock()
    assert "no such package in base: libxml2-devel (needed by cran:xml2)" in caught.value.message
    assert not site.inputs.lock_path.exists()
    # The stack knows better, and that is enough.
    site.want(packages=["Top"], system_requirements={"xml2": {"run": ["libxml2"]}})
    assert reasons(site.lock()) == {"libxml2": ["cran:xml2"]}


def test_an_r_package_that_is_too_new_is_refused_before_anything_is_written(site: Site) -> None:
    top = {"Version": "1.0", "Depends": "R (>= 4.6)"}
    site.offer(*RPMS, Top=top)
    with pytest.raises(InputError, match=r"el10-x86_64: Top 1\.0 needs R \(>= 4\.6\), there is R"):
        site.lock()
    assert not site.inputs.lock_path.exists()


def test_a_project_is_locked_checked_and_updated(site: Site) -> None:
    def project(version: str) -> None:
        record = {"Package": "xml2", "Version": version, "Source": "Repository"}
        data = {"R": {"Version": "4.5.0"}, "Packages": {"xml2": record}}
        (site.folder / "renv.lock").write_text(json.dumps(data))

    small.cran_archive(site.folder / "cran", "xml2", Version="1.1")
    small.cran_archive(site.folder / "cran", "xml2", Version="1.2")
    project("1.1")
    site.want(packages=["Top"], projects=["renv.lock"])
    old = site.lock()
    assert [(a.version, a.targets) for a in old.of("cran") if a.name == "xml2"] == [
        ("1.1", ["projects"]),
        ("1.3", ["site"]),
    ]
    assert check_lock(site.inputs) == []
    project("1.2")
    assert check_lock(site.inputs) == [
        "r.projects.renv.lock: xml2 ==1.1 is locked but no longer wanted",
        "r.projects.renv.lock: xml2 ==1.2 is wanted but not locked",
    ]
    assert diff(old, site.lock("xml2")).text() == (
        "~ cran xml2 [projects] 1.1 -> 1.2\n* wanted: r.projects.renv.lock\n"
    )
    with pytest.raises(InputError, match="not in the lock and not wanted: nosuch"):
        site.lock("nosuch")


def test_the_system_requirements_that_a_stack_adds_reach_what_is_locked(site: Site) -> None:
    """Also where nothing else changes, and the tarballs are as they were."""
    old = site.lock()
    assert found(old, "Top").record["run"] == {}
    site.want(packages=["Top"], system_requirements={"Top": {"run": ["libxml2-devel"]}})
    new = site.lock("Top")
    assert found(new, "Top").record["run"] == {TARGET: ["libxml2-devel"]}
    assert reasons(new)["libxml2-devel"] == ["cran:Top", "cran:xml2"]
