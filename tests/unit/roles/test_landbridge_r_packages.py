"""Module landbridge_r_packages, run as Ansible runs it, with the machine's R on small packages."""

import gzip
import io
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest

from tests.unit.roles.modules import run_in_process

GOOD = "answer <- function() 42\n"
BAD = "answer <- function( {\n"
STORE = TemporaryDirectory()
C_CODE = "#include <Rinternals.h>\nSEXP one(void) { return ScalarInteger(1); }\n"
ASK_MINOR = "cat(R.version$major, sub('[.].*', '', R.version$minor), sep = '.')"
MINOR = subprocess.check_output(["Rscript", "--vanilla", "-e", ASK_MINOR], text=True)


@dataclass
class Node:
    """A CRAN-like repository and site libraries under a directory of the test."""

    top: Path

    @property
    def home(self) -> Path:
        return self.top / "r" / MINOR

    @property
    def library(self) -> Path:
        return self.home / "library"

    @property
    def binaries(self) -> Path:
        return self.top / "cran/binaries"

    def libraries(self) -> list[str]:
        return sorted(path.name for path in (self.home / "libraries").iterdir())

    def inode(self, file: str) -> int:
        return (self.library / file).stat().st_ino

    def offer(
        self, name: str, version: str, *, source: str = GOOD, imports: str = "", c_code: str = ""
    ) -> None:
        """Put the tarball of a source package into the repository and its index."""
        description = (
            f"Package: {name}\nVersion: {version}\nTitle: T\nDescription: D.\nLicense: GPL-2\n"
            "Author: A\nMaintainer: A <a@example.org>\nByteCompile: no\n"
        )
        description += f"Imports: {imports}\n" if imports else ""
        namespace = "export(answer)\n" + (f"importFrom({imports}, answer)\n" if imports else "")
        namespace += f"useDynLib({name})\n" if c_code else ""
        contrib = self.top / "cran/src/contrib"
        contrib.mkdir(parents=True, exist_ok=True)
        files = {"DESCRIPTION": description, "NAMESPACE": namespace, "R/a.R": source}
        files |= {"src/a.c": c_code} if c_code else {}
        pack(contrib / f"{name}_{version}.tar.gz", {f"{name}/{p}": t for p, t in files.items()})
        index = contrib / "PACKAGES"
        stanzas = index.read_text().split("\n\n") if index.exists() else []
        stanzas = [s.strip() for s in stanzas if s.strip() and f"Package: {name}\n" not in s]
        stanza = f"Package: {name}\nVersion: {version}"
        stanza += f"\nImports: {imports}" if imports else ""
        index.write_text("\n\n".join([*stanzas, stanza]) + "\n")

    def build(self, name: str, version: str, **offered: str) -> Path:
        """Offer a package, and its built form as well; returns the folder it was built in."""
        self.offer(name, version, **offered)
        source = self.top / f"cran/src/contrib/{name}_{version}.tar.gz"
        folder = self.top / "built" / name
        shutil.copytree(compiled(source.read_bytes(), source.name), folder, dirs_exist_ok=True)
        self.publish(folder, version)
        return folder

    def publish(self, folder: Path, version: str) -> None:
        """Make an installed package a built one of the repository."""
        contrib = self.binaries / "src/contrib"
        contrib.mkdir(parents=True, exist_ok=True)
        with tarfile.open(contrib / f"{folder.name}_{version}.tar.gz", "w:gz") as archive:
            archive.add(folder, folder.name)

    def run(
        self, *packages: str, check: bool = False, umask: int = 0o022, **params: Any
    ) -> dict[str, Any]:
        """Run the module on packages given as "name version [requirement]"."""
        split = [text.split() for text in packages]
        arguments = {
            "packages": [{"name": p[0], "version": p[1], "requires": p[2:]} for p in split],
            "root": f"{self.top}/r",
            "repository": f"{self.top}/cran",
            "binaries": str(self.binaries),
            "target": "el9-x86_64",
            "build": f"{self.top}/build",
            **params,
        }
        return run_in_process("r", "landbridge_r_packages", arguments, check=check, umask=umask)


@cache
def compiled(source: bytes, file: str) -> Path:
    """The folder of an installed package; each is compiled once for all tests."""
    library = Path(mkdtemp(dir=STORE.name))
    (library / file).write_bytes(source)
    options = ["--no-docs", "--no-test-load", f"--library={library}"]
    command = ["R", "CMD", "INSTALL", *options, str(library / file)]
    subprocess.run(command, check=True, capture_output=True)
    return library / file.split("_", maxsplit=1)[0]


def pack(archive: Path, files: dict[str, str]) -> None:
    """A tarball of these files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as stream:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            stream.addfile(entry, io.BytesIO(text.encode()))
    archive.write_bytes(gzip.compress(content.getvalue(), mtime=0))


def say_built(folder: Path, built: str) -> None:
    """Have an installed package say for what it was built."""
    file = folder / "DESCRIPTION"
    file.write_text(re.sub(r"Built: .*", f"Built: {built}", file.read_text()))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_packages_are_installed_once_in_their_order(node: Node) -> None:
    node.offer("aaa", "1.0", imports="zzz")
    node.offer("zzz", "2.0-1")
    wanted = ("aaa 1.0 zzz", "zzz 2.0-1")
    first = node.run(*wanted)
    assert first["installed"] == {"aaa": "missing", "zzz": "missing"}, first
    assert first["sources"] == {"aaa": "source", "zzz": "source"}
    assert first["r_version"].startswith(MINOR + ".")
    assert (node.library / "aaa/DESCRIPTION").is_file()
    assert str(node.library.readlink()) == "libraries/" + Path(first["library"]).name
    assert node.run(*wanted)["changed"] is False
    assert list((node.top / "build").iterdir()) == []


def test_check_mode_needs_no_r_and_writes_nothing(node: Node) -> None:
    result = node.run("aaa 1.0", check=True, r="/nonexistent/R", version="4.5.0")
    assert result["changed"] is True
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "aaa 1.0 (R 4.5)\n"
    assert "/r/4.5/libraries/" in result["library"]
    assert not (node.top / "r").exists()


def test_without_r_the_error_says_what_to_install(node: Node) -> None:
    result = node.run("aaa 1.0", r="/nonexistent/R", version="4.5.0")
    assert result["failed"] is True
    assert "install R first" in result["msg"]


def test_a_new_snapshot_is_built_beside_the_old_one(node: Node) -> None:
    for name in ("aaa", "bbb", "gone"):
        node.build(name, "1.0")
    old = Path(node.run("aaa 1.0", "bbb 1.0", "gone 1.0")["library"])
    kept = node.inode("aaa/DESCRIPTION")
    node.build("bbb", "1.1")
    planned = node.run("aaa 1.0", "bbb 1.1", check=True)
    assert node.library.resolve() == old
    done = node.run("aaa 1.0", "bbb 1.1")
    assert done["installed"] == planned["installed"] == {"bbb": "has 1.0"}
    assert done["removed"] == planned["removed"] == ["gone"]
    assert done["sources"] == planned["sources"] == {"aaa": "kept", "bbb": "binary"}
    assert "bbb 1.0 (R " in done["diff"]["before"]
    assert node.inode("aaa/DESCRIPTION") == kept
    assert sorted(p.name for p in node.library.glob("[a-z]*")) == ["aaa", "bbb"]
    assert (old / "gone/DESCRIPTION").is_file()
    assert "Version: 1.0" in (old / "bbb/DESCRIPTION").read_text()


def test_the_old_library_is_in_use_until_the_new_one_is_whole(node: Node) -> None:
    node.offer("aaa", "1.0")
    old = Path(node.run("aaa 1.0")["library"])
    node.offer("aaa", "2.0", source=BAD)
    node.offer("bbb", "1.0")
    failed = node.run("aaa 2.0", "bbb 1.0")
    assert failed["failed"] is True
    assert node.library.resolve() == old
    assert "Version: 1.0" in (node.library / "aaa/DESCRIPTION").read_text()
    node.offer("aaa", "2.0")
    mended = node.run("aaa 2.0", "bbb 1.0")
    assert mended["sources"] == {"aaa": "source"}, "bbb was there already"
    assert node.library.resolve() != old
    assert node.run("aaa 2.0", "bbb 1.0")["changed"] is False


def test_a_session_stays_on_its_library(node: Node) -> None:
    node.build("aaa", "1.0")
    node.run("aaa 1.0")
    script = "cat(.libPaths()[1], '\\n'); invisible(readLines('stdin', 1)); cat(aaa::answer())"
    session = subprocess.Popen(
        ["Rscript", "--no-init-file", "-e", script],
        env={**os.environ, "R_LIBS": str(node.library)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdout
    before = session.stdout.readline().strip()
    node.build("aaa", "2.0", source="answer <- function() 43\n")
    after = node.run("aaa 2.0")["library"]
    said, _ = session.communicate("\n")
    assert before != after
    assert said == "42"


def test_older_libraries_are_pruned_the_last_used_ones_stay(node: Node) -> None:
    for version in ("1.0", "2.0", "3.0"):
        node.build("aaa", version)
    first, second, third = (Path(node.run(f"aaa {v}.0")["library"]).name for v in (1, 2, 3))
    assert node.libraries() == sorted([second, third])
    assert Path(node.run("aaa 2.0")["library"]).name == second
    assert node.libraries() == sorted([second, third])
    assert node.run("aaa 2.0", keep=0)["pruned"] == [str(node.home / "libraries" / third)]
    assert node.libraries() == [second]
    assert first not in node.libraries()


def test_a_library_of_which_a_process_has_loaded_something_is_not_pruned(node: Node) -> None:
    for version in ("1.0", "2.0"):
        node.build("aaa", version)
    first = Path(node.run("aaa 1.0")["library"])
    loaded = first / "aaa/aaa.so"
    shutil.copy("/bin/sleep", loaded)
    with subprocess.Popen([loaded, "600"]) as process:
        try:
            assert node.run("aaa 2.0", keep=0)["pruned"] == []
            assert first.is_dir()
        finally:
            process.kill()
    assert node.run("aaa 2.0", keep=0)["pruned"] == [str(first)]


def test_another_target_takes_no_package_over(node: Node) -> None:
    node.build("aaa", "1.0")
    node.run("aaa 1.0")
    assert node.run("aaa 1.0", target="el10-x86_64")["sources"] == {"aaa": "binary"}


def test_a_new_patch_release_of_r_rebuilds_nothing(node: Node) -> None:
    built = node.build("aaa", "1.0")
    say_built(built, f"R {MINOR}.99; ; 2024-01-01 00:00:00 UTC; unix")
    node.publish(built, "1.0")
    node.run("aaa 1.0")
    assert f"Built: R {MINOR}.99" in (node.library / "aaa/DESCRIPTION").read_text()
    assert node.run("aaa 1.0")["changed"] is False


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ("R 3.9.9; ; 2024-01-01 00:00:00 UTC; unix", "built for R 3.9.9"),
        (
            f"R {MINOR}.0; s390x-redhat-linux-gnu; 2024-01-01 00:00:00 UTC; unix",
            "built for s390x-redhat-linux-gnu",
        ),
    ],
)
def test_built_packages_of_another_r_are_refused(node: Node, built: str, said: str) -> None:
    folder = node.build("aaa", "1.0")
    say_built(folder, built)
    node.publish(folder, "1.0")
    result = node.run("aaa 1.0")
    assert said in result["msg"]
    assert "aaa_1.0.tar.gz" in result["msg"]
    assert not node.library.exists()


def test_the_vendor_of_a_platform_does_not_matter(node: Node) -> None:
    folder = node.build("aaa", "1.0", c_code=C_CODE)
    machine = os.uname().machine
    say_built(folder, f"R {MINOR}.0; {machine}-redhat-linux-gnu; 2024-01-01 00:00:00 UTC; unix")
    node.publish(folder, "1.0")
    assert node.run("aaa 1.0")["sources"] == {"aaa": "binary"}
    assert (node.library / "aaa/libs/aaa.so").is_file()


def test_built_packages_that_do_not_load_stay_out_of_use(node: Node) -> None:
    folder = node.build("aaa", "1.0", c_code=C_CODE)
    (folder / "libs/aaa.so").write_bytes(b"no library")
    node.publish(folder, "1.0")
    result = node.run("aaa 1.0")
    assert "Built packages do not load:\naaa: " in result["msg"]
    assert "r.system_requirements" in result["msg"]
    assert not node.library.exists()


@pytest.mark.parametrize("path", ["../evil", "/evil", "other/evil"])
def test_archives_write_nowhere_else(node: Node, path: str) -> None:
    node.build("aaa", "1.0")
    pack(node.binaries / "src/contrib/aaa_1.0.tar.gz", {path: "x"})
    assert "is not in aaa/" in node.run("aaa 1.0")["msg"]
    assert list(node.top.rglob("evil")) == []


def test_truncated_archives_are_named(node: Node) -> None:
    node.build("aaa", "1.0")
    archive = node.binaries / "src/contrib/aaa_1.0.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-100])
    assert str(archive) in node.run("aaa 1.0")["msg"]
    assert not node.library.exists()


def test_a_damaged_library_is_mended_where_it_is(node: Node) -> None:
    for name in ("aaa", "bbb", "ccc"):
        node.build(name, "1.0")
    wanted = ("aaa 1.0", "bbb 1.0", "ccc 1.0")
    library = Path(node.run(*wanted)["library"])
    shutil.rmtree(library / "aaa")
    (library / "bbb/R/bbb.rdb").write_bytes(b"")
    (library / "stray").mkdir()
    planned = node.run(*wanted, check=True)
    done = node.run(*wanted)
    assert done["installed"] == planned["installed"] == {"aaa": "missing", "bbb": "damaged"}
    assert done["removed"] == planned["removed"] == ["stray"]
    assert Path(done["library"]) == library
    assert (library / "bbb/R/bbb.rdb").stat().st_size > 0
    assert node.run(*wanted)["changed"] is False


def test_a_damaged_package_without_binary_is_compiled_again(node: Node) -> None:
    node.offer("aaa", "1.0")
    library = Path(node.run("aaa 1.0")["library"])
    (library / "aaa/DESCRIPTION").unlink()
    assert node.run("aaa 1.0")["sources"] == {"aaa": "source"}
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


def test_a_package_that_the_repository_lacks_is_named(node: Node) -> None:
    node.offer("aaa", "1.0")
    result = node.run("aaa 1.0", "absent 1.0")
    assert re.search(r"^absent \(missing\): .*absent.* is not available", result["msg"], re.M)


def test_what_an_interrupted_r_left_is_repaired(node: Node) -> None:
    node.build("aaa", "1.0")
    node.build("bbb", "1.0")
    library = Path(node.run("aaa 1.0", "bbb 1.0")["library"])
    (library / "00LOCK-aaa/aaa").mkdir(parents=True)
    (library / ".landbridge-x1").mkdir()
    done = node.run("aaa 1.0", "bbb 1.0")
    assert done["installed"] == {"aaa": "half-installed"}
    assert done["sources"] == {"aaa": "binary"}
    assert not list(library.glob("00LOCK*"))
    assert not (library / ".landbridge-x1").exists()
    assert node.run("aaa 1.0", "bbb 1.0")["changed"] is False


def test_users_can_read_the_library_on_a_host_with_umask_077(node: Node) -> None:
    node.offer("aaa", "1.0")
    node.build("bbb", "1.0")
    node.run("aaa 1.0", "bbb 1.0", umask=0o077)
    real = node.library.resolve()
    files = [node.home, real, *real.rglob("*")]
    closed = [p for p in files if not p.stat().st_mode & (0o005 if p.is_dir() else 0o004)]
    assert len(files) > 10
    assert closed == []
