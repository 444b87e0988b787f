"""R packages of a lock: which are compiled, in what order, and what a result depends on."""

from __future__ import annotations

from typing import Any

from landbridge.bundle.r_packages import (
    closure,
    keys,
    left_out,
    packages_of,
    short,
    stanza,
)
from landbridge.lock import Artifact, Lock


def source(name: str, version: str = "1.0", entry: str = "", **more: Any) -> Artifact:
    """A locked R package whose index entry has these further lines."""
    values = {
        "path": f"cran/src/contrib/{name}_{version}.tar.gz",
        "url": f"https://mirror.example/src/contrib/{name}_{version}.tar.gz",
        "sha256": name.lower().encode().hex().ljust(64, "0")[:64],
        "size": 10,
        "index_entry": f"Package: {name}\nVersion: {version}\n{entry}MD5sum: aa",
    }
    return Artifact(ecosystem="cran", name=name, version=version, **{**values, **more})


def lock(*artifacts: Artifact) -> Lock:
    return Lock(stack="s", targets=["el9-x86_64"], artifacts=list(artifacts))


THREE = lock(
    source("low"),
    source("middle", entry="LinkingTo: low (>= 1.0)\nImports: utils, MASS\n"),
    source("top", entry="Depends: R (>= 3.5), methods\nImports: middle\nSuggests: other\n"),
    source("other"),
)


def test_needs_are_those_that_are_carried_and_installed_before() -> None:
    packages = packages_of(THREE)
    assert {name: p.needs for name, p in packages.items()} == {
        "low": (),
        "middle": ("low",),
        "top": ("middle",),
        "other": (),
    }
    assert closure("top", packages) == ["low", "middle"]


def test_older_versions_in_the_archive_are_sources_only() -> None:
    old = source("low", "0.9", path="cran/src/contrib/Archive/low/low_0.9.tar.gz")
    packages = packages_of(lock(source("low"), old))
    assert [p.artifact.version for p in packages.values()] == ["1.0"]


def test_one_changed_source_changes_its_key_and_those_built_on_it() -> None:
    before = keys(packages_of(THREE), "base")
    changed = [
        a.model_copy(update={"sha256": "f" * 64}) if a.name == "middle" else a
        for a in THREE.artifacts
    ]
    after = keys(packages_of(lock(*changed)), "base")
    assert {name for name in before if before[name] != after[name]} == {"middle", "top"}


def test_another_root_changes_every_key() -> None:
    packages = packages_of(THREE)
    one, two = keys(packages, "base"), keys(packages, "another")
    assert not set(one.values()) & set(two.values())
    assert len(set(one.values())) == 4


def test_what_needs_a_newer_r_is_left_out_with_what_needs_it() -> None:
    found = left_out(
        packages_of(
            lock(
                source("new", entry="Depends: methods, R (>= 4.3.0)\n"),
                source("user", entry="Imports: new\n"),
                source("fine", entry="Depends: R (>= 4.2)\n"),
            )
        ),
        "4.2.2",
    )
    assert found == {
        "new": "needs R (>= 4.3.0), and R is 4.2.2",
        "user": "needs new, which needs R (>= 4.3.0), and R is 4.2.2",
    }


def test_what_needs_another_version_of_a_neighbour_is_left_out() -> None:
    found = left_out(
        packages_of(
            lock(source("low", "1.0"), source("of.project", entry="Imports: low (>= 2)\n"))
        ),
        "4.5.2",
    )
    assert found == {"of.project": "needs low (>= 2), and low is 1.0"}


def test_the_site_library_is_told_from_projects() -> None:
    wanted = lock(source("a", targets=["site", "projects"]), source("b", targets=["projects"]))
    assert {n: p.is_of_site for n, p in packages_of(wanted).items()} == {"a": True, "b": False}


def test_the_index_says_what_was_compiled() -> None:
    package = packages_of(
        lock(source("low", entry="License: GPL\nImports: a,\n    b\nNeedsCompilation: yes\n"))
    )["low"]
    text = stanza(package, "0" * 32, "R 4.5.0; x86_64-redhat-linux-gnu; 1980-01-01; unix")
    assert text.splitlines() == [
        "Package: low",
        "Version: 1.0",
        "License: GPL",
        "Imports: a, b",
        "NeedsCompilation: yes",
        "Built: R 4.5.0; x86_64-redhat-linux-gnu; 1980-01-01; unix",
        f"MD5sum: {'0' * 32}",
    ]


def test_compiled_packages_are_good_for_two_numbers_of_rs_version() -> None:
    assert short("4.5.2") == "4.5"
