"""Module landbridge_r_packages, run as Ansible runs it, with the machine's R on small packages."""

import io
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import run_in_process

GOOD = "answer <- function() 42\n"
BAD = "answer <- function( {\n"


@dataclass
class Node:
    """A CRAN-like repository and a site library under a directory of the test."""

    top: Path

    @property
    def library(self) -> Path:
        return self.top / "library"

    def offer(self, name: str, version: str, *, source: str = GOOD, imports: str = "") -> None:
        """Put the tarball of a source package into the repository and its index."""
        description = (
            f"Package: {name}\nVersion: {version}\nTitle: T\nDescription: D.\nLicense: GPL-2\n"
            "Author: A\nMaintainer: A <a@example.org>\n"
        )
        description += f"Imports: {imports}\n" if imports else ""
        namespace = "export(answer)\n" + (f"importFrom({imports}, answer)\n" if imports else "")
        contrib = self.top / "cran/src/contrib"
        contrib.mkdir(parents=True, exist_ok=True)
        files = {"DESCRIPTION": description, "NAMESPACE": namespace, "R/a.R": source}
        with tarfile.open(contrib / f"{name}_{version}.tar.gz", "w:gz") as archive:
            for path, text in files.items():
                entry = tarfile.TarInfo(f"{name}/{path}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
        index = contrib / "PACKAGES"
        stanzas = index.read_text().split("\n\n") if index.exists() else []
        stanzas = [s.strip() for s in stanzas if s.strip() and f"Package: {name}\n" not in s]
        stanza = f"Package: {name}\nVersion: {version}"
        stanza += f"\nImports: {imports}" if imports else ""
        index.write_text("\n\n".join([*stanzas, stanza]) + "\n")

    def run(
        self, *packages: str, check: bool = False, umask: int = 0o022, **params: Any
    ) -> dict[str, Any]:
        """Run the module on packages given as "name version [requirement]"."""
        split = [text.split() for text in packages]
        arguments = {
            "packages": [{"name": p[0], "version": p[1], "requires": p[2:]} for p in split],
            "library": str(self.library),
            "repository": f"{self.top}/cran",
            "build": f"{self.top}/build",
            **params,
        }
        return run_in_process("r", "landbridge_r_packages", arguments, check=check, umask=umask)

    def built_for(self, name: str, version: str) -> None:
        """Have an installed package say that it was built for another R."""
        file = self.library / name / "DESCRIPTION"
        file.write_text(re.sub(r"Built: R [0-9.]+", f"Built: R {version}", file.read_text()))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_packages_are_installed_once_in_their_order(node: Node) -> None:
    node.offer("aaa", "1.0", imports="zzz")
    node.offer("zzz", "2.0-1")
    wanted = ("aaa 1.0 zzz", "zzz 2.0-1")
    first = node.run(*wanted)
    assert first["installed"] == {"aaa": "missing", "zzz": "missing"}, first
    assert (node.library / "aaa/DESCRIPTION").is_file()
    assert re.match(r"\d+\.\d+\.\d+$", first["r_version"])
    assert node.run(*wanted)["changed"] is False
    assert list((node.top / "build").iterdir()) == []


def test_check_mode_needs_no_r_and_writes_nothing(node: Node) -> None:
    result = node.run("aaa 1.0", check=True, r="/nonexistent/R")
    assert result["changed"] is True
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "aaa 1.0\n"
    assert result["r_version"] == ""
    assert not node.library.exists()


def test_without_r_the_error_says_what_to_install(node: Node) -> None:
    result = node.run("aaa 1.0", r="/nonexistent/R")
    assert result["failed"] is True
    assert "install R-core first" in result["msg"]


def test_other_versions_and_other_rs_are_replaced(node: Node) -> None:
    for name in ("aaa", "bbb", "ccc"):
        node.offer(name, "1.0")
    node.run("aaa 1.0", "bbb 1.0", "ccc 1.0")
    node.built_for("bbb", "3.9.9")
    node.offer("aaa", "1.1")
    planned = node.run("aaa 1.1", "bbb 1.0", "ccc 1.0", check=True)
    done = node.run("aaa 1.1", "bbb 1.0", "ccc 1.0")
    assert done["installed"] == {"aaa": "has 1.0", "bbb": "built for R 3.9.9"}
    assert planned["installed"] == done["installed"]
    assert "aaa 1.0 (R " in done["diff"]["before"]
    assert node.run("aaa 1.1", "bbb 1.0", "ccc 1.0")["changed"] is False


def test_a_new_patch_release_of_r_rebuilds_nothing(node: Node) -> None:
    node.offer("aaa", "1.0")
    version = node.run("aaa 1.0")["r_version"]
    node.built_for("aaa", ".".join(version.split(".")[:2]) + ".99")
    assert node.run("aaa 1.0")["changed"] is False


def test_only_packages_of_its_own_are_removed(node: Node) -> None:
    node.offer("aaa", "1.0")
    node.offer("bbb", "1.0")
    node.run("aaa 1.0", "bbb 1.0")
    (node.library / "theirs").mkdir()
    (node.library / "theirs/DESCRIPTION").write_text("Package: theirs\nVersion: 1\n")
    result = node.run("aaa 1.0")
    assert result["removed"] == ["bbb"]
    assert sorted(p.name for p in node.library.glob("[a-z]*")) == ["aaa", "theirs"]
    assert node.run("aaa 1.0")["changed"] is False


def test_failures_are_named_by_package_in_rs_own_words(node: Node) -> None:
    node.offer("broken", "1.0", source=BAD)
    node.offer("needs", "1.0", imports="broken")
    node.offer("whole", "1.0")
    result = node.run("broken 1.0", "needs 1.0 broken", "whole 1.0")
    assert result["failed"] is True
    assert "R did not install: broken, needs" in result["msg"]
    assert re.search(r"^broken: .*(unexpected|Error in parse)", result["msg"], re.M)
    assert "needs: not tried, it needs broken" in result["msg"]
    assert (node.library / "whole").is_dir()
    node.offer("broken", "1.0")
    mended = node.run("broken 1.0", "needs 1.0 broken", "whole 1.0")
    assert set(mended["installed"]) == {"broken", "needs"}
    assert not list(node.library.glob("00LOCK*"))


def test_a_package_that_the_repository_lacks_is_named(node: Node) -> None:
    node.offer("aaa", "1.0")
    result = node.run("aaa 1.0", "absent 1.0")
    assert re.search(r"^absent \(missing\): .*absent.* is not available", result["msg"], re.M)


def test_locks_of_an_interrupted_run_are_removed(node: Node) -> None:
    node.offer("aaa", "1.0")
    node.run("aaa 1.0")
    (node.library / "00LOCK-aaa/aaa").mkdir(parents=True)
    assert node.run("aaa 1.0")["changed"] is True
    assert not (node.library / "00LOCK-aaa").exists()


def test_users_can_read_the_library_on_a_host_with_umask_077(node: Node) -> None:
    node.offer("aaa", "1.0")
    node.run("aaa 1.0", umask=0o077)
    files = [node.library, *(node.library / "aaa").rglob("*"), node.library / ".landbridge.json"]
    closed = [p for p in files if not p.stat().st_mode & (0o005 if p.is_dir() else 0o004)]
    assert len(files) > 5
    assert closed == []
