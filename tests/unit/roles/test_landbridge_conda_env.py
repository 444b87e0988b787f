"""Module landbridge_conda_env, run as Ansible runs it, on a channel of small real packages."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import run_in_process

PLACEHOLDER = "/placeholder" * 20


def add_package(channel: Path, name: str, version: str, files: dict[str, str]) -> str:
    """Put a real conda package into `channel`; returns its line for a lock."""
    file = f"{name}-{version}-0.tar.bz2"
    index: dict[str, Any] = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": "noarch",
    }
    paths = [path_entry(path, text) for path, text in files.items()]
    contents = {
        **files,
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
    }
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    with tarfile.open(channel / "noarch" / file, "w:bz2") as archive:
        for path, text in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            entry.mode = 0o775 if path.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    data = (channel / "noarch" / file).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    repodata = channel / "noarch/repodata.json"
    known = json.loads(repodata.read_text())["packages"] if repodata.exists() else {}
    known[file] = {**index, "sha256": digest, "size": len(data)}
    repodata.write_text(json.dumps({"info": {"subdir": "noarch"}, "packages": known}))
    return f"noarch/{file}#{digest}\n"


def path_entry(path: str, text: str) -> dict[str, Any]:
    """How `info/paths.json` describes one file."""
    entry: dict[str, Any] = {
        "_path": path,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "size_in_bytes": len(text.encode()),
    }
    if PLACEHOLDER in text:
        entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    return entry


@dataclass
class Node:
    """The paths that the module manages, under a directory of the test."""

    top: Path

    @property
    def channel(self) -> Path:
        return self.top / "depot/conda"

    @property
    def home(self) -> Path:
        return self.top / "envs/science"

    @property
    def current(self) -> Path:
        return self.home / "current"

    @property
    def kernel(self) -> Path:
        return self.top / "kernels/science/kernel.json"

    def lock(self, *lines: str) -> Path:
        path = self.channel / "envs/science.noarch.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# a comment\n@EXPLICIT\n" + "".join(lines))
        return path

    def run(self, *, check: bool = False, umask: int = 0o022, **params: Any) -> dict[str, Any]:
        """Run the module in a process of its own, as on a node; returns its result."""
        arguments = {
            "name": "science",
            "root": f"{self.top}/envs",
            "cache": f"{self.top}/cache",
            "kernels": f"{self.top}/kernels",
            "channel": str(self.channel),
            "lock": str(self.channel / "envs/science.noarch.txt"),
            "toolkit_python": sys.executable,
            **params,
        }
        return run_in_process("conda", "landbridge_conda_env", arguments, check=check, umask=umask)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_fresh_node_gets_the_environment_and_a_second_run_changes_nothing(node: Node) -> None:
    script = f"#!{PLACEHOLDER}/bin/python\n"
    lock = node.lock(add_package(node.channel, "tool", "1.0", {"bin/tool": script}))
    first = node.run()
    prefix = node.home / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    assert first["changed"] is True, first
    assert first["prefix"] == str(prefix)
    assert node.current.readlink() == Path(prefix.name)
    assert (prefix / "bin/tool").read_text() == f"#!{prefix}/bin/python\n"
    assert (prefix / "landbridge.lock").read_bytes() == lock.read_bytes()
    assert node.run()["changed"] is False


def test_check_mode_needs_no_toolkit_and_writes_nothing(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    result = node.run(check=True, toolkit_python="/nonexistent/python")
    assert result["changed"] is True
    assert result["packages"] == {"added": ["tool"], "removed": [], "changed": []}
    assert result["diff"][0]["after"] == "tool 1.0 0\n"
    assert not node.home.exists()


def test_without_the_toolkit_the_error_says_what_to_run(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    result = node.run(toolkit_python="/nonexistent/python")
    assert result["failed"] is True
    assert "run the role toolkit" in result["msg"]


def test_an_upgrade_shows_its_packages_and_keeps_the_old_environment(node: Node) -> None:
    lines = [add_package(node.channel, "tool", v, {"share/tool": v}) for v in ("1.0", "2.0", "3.0")]
    gone = add_package(node.channel, "gone", "1", {"share/gone": "x"})
    come = add_package(node.channel, "come", "1", {"share/come": "x"})
    node.lock(lines[0], gone)
    first = Path(node.run()["prefix"])
    node.lock(lines[1], come)
    planned = node.run(check=True)
    second = node.run()
    assert planned["packages"] == second["packages"]
    assert second["packages"] == {"added": ["come"], "removed": ["gone"], "changed": ["tool"]}
    assert (first / "share/tool").read_text() == "1.0"
    assert (node.current / "share/tool").read_text() == "2.0"
    node.lock(lines[2])
    third = node.run()
    assert third["removed"] == [str(first)]
    assert not first.exists()
    assert (node.home / Path(second["prefix"]).name).is_dir()


@contextmanager
def process_of(prefix: Path) -> Iterator[None]:
    """A process that runs from an installation, as a kernel does."""
    program = prefix / "bin/kernel"
    program.parent.mkdir(exist_ok=True)
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "600"]) as process:
        try:
            yield
        finally:
            process.kill()


def test_what_a_process_runs_from_stays_until_it_has_ended(node: Node) -> None:
    lines = [add_package(node.channel, "tool", v, {"share/tool": v}) for v in ("1.0", "2.0")]
    node.lock(lines[0])
    first = Path(node.run()["prefix"])
    with process_of(first):
        node.lock(lines[1])
        assert node.run(keep=0)["removed"] == []
        assert (first / "share/tool").read_text() == "1.0"
        assert node.run(keep=0)["changed"] is False
    assert node.run(keep=0)["removed"] == [str(first)]


def test_an_environment_that_is_dropped_goes_when_its_last_process_has_ended(node: Node) -> None:
    node.lock(add_package(node.channel, "ipykernel", "7", {"share/k": "x"}))
    prefix = Path(node.run(kernel="K")["prefix"])
    with process_of(prefix):
        node.run(state="absent")
        assert sorted(node.home.iterdir()) == [prefix]
        assert not node.kernel.parent.exists()
        assert node.run(state="absent")["changed"] is False
    assert node.run(state="absent")["removed"] == [str(node.home)]
    assert not node.home.exists()


def test_files_are_hard_links_from_the_cache(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    prefix = Path(node.run()["prefix"])
    assert (prefix / "share/tool").stat().st_nlink == 2


def test_an_interrupted_installation_is_built_again(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    prefix = Path(node.run()["prefix"])
    (prefix / "landbridge.lock").unlink()
    (prefix / "share/tool").unlink()
    (prefix / "half").write_text("left over")
    again = node.run()
    assert again["changed"] is True
    assert (prefix / "share/tool").read_text() == "x"
    assert not (prefix / "half").exists()
    assert node.run()["changed"] is False


def test_an_interrupted_installation_of_another_lock_is_removed(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    node.run()
    left = node.home / "0123456789ab"
    (left / "conda-meta").mkdir(parents=True)
    assert node.run()["removed"] == [str(left)]
    assert not left.exists()


def test_a_tampered_archive_is_refused_before_anything_is_written(node: Node) -> None:
    line = add_package(node.channel, "tool", "1.0", {"share/tool": "x"})
    node.lock(line)
    with (node.channel / "noarch/tool-1.0-0.tar.bz2").open("ab") as archive:
        archive.write(b"!")
    result = node.run()
    assert result["failed"] is True
    assert "noarch/tool-1.0-0.tar.bz2: sha256 is not the lock's" in result["msg"]
    assert not node.current.exists()


def test_a_missing_archive_is_named(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    (node.channel / "noarch/tool-1.0-0.tar.bz2").unlink()
    result = node.run()
    assert "noarch/tool-1.0-0.tar.bz2: No such file" in result["msg"]


def test_a_package_that_the_channel_does_not_index_is_named(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    (node.channel / "noarch/repodata.json").write_text('{"info": {"subdir": "noarch"}}')
    result = node.run()
    assert "not in the channel's repodata: noarch/tool-1.0-0.tar.bz2" in result["msg"]
    assert node.run(check=True)["removed"], "the failed attempt counts as interrupted"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noarch/tool-1.0-0.conda#" + "0" * 64, "no line @EXPLICIT"),
        ("@EXPLICIT\n", "names no package"),
        ("@EXPLICIT\nnoarch/tool-1.0-0.conda\n", "line 2 of the lock"),
        ("@EXPLICIT\nnoarch/../tool-1.0-0.conda#" + "0" * 64, "line 2 of the lock"),
    ],
)
def test_a_malformed_lock_is_refused(node: Node, text: str, words: str) -> None:
    node.lock().write_text(text)
    result = node.run(check=True)
    assert result["failed"] is True
    assert words in result["msg"]


def test_the_kernelspec_names_the_installation_and_follows_it(node: Node) -> None:
    lines = [add_package(node.channel, "ipykernel", v, {"share/k": v}) for v in ("6", "7")]
    node.lock(lines[0])
    first = node.run(kernel="Python (science)")
    spec = json.loads(node.kernel.read_text())
    assert spec["argv"][0] == first["prefix"] + "/bin/python"
    assert spec["display_name"] == "Python (science)"
    node.lock(lines[1])
    second = node.run(kernel="Python (science)")
    spec = json.loads(node.kernel.read_text())
    assert spec["argv"][0] == second["prefix"] + "/bin/python"
    assert node.run(kernel="Python (science)")["changed"] is False
    assert node.run()["changed"] is True
    assert not node.kernel.parent.exists()


def test_a_kernel_needs_ipykernel(node: Node) -> None:
    node.lock(add_package(node.channel, "tool", "1.0", {"share/tool": "x"}))
    result = node.run(check=True, kernel="Python (science)")
    assert "no ipykernel" in result["msg"]


def test_users_can_read_everything_on_a_host_with_umask_077(node: Node) -> None:
    files = {"share/deep/tool": "x", "bin/tool": "x"}
    node.lock(add_package(node.channel, "ipykernel", "7", files))
    prefix = Path(node.run(umask=0o077, kernel="K")["prefix"])
    roots = [node.home.parent, node.kernel.parent.parent]
    closed = [
        path
        for root in roots
        for path in [root, *root.rglob("*")]
        if not path.stat().st_mode & (0o005 if path.is_dir() else 0o004) and path.name[0] != "."
    ]
    assert (prefix / "share/deep/tool").exists()
    assert closed == []
    assert (prefix / "bin/tool").stat().st_mode & 0o777 == 0o755


def test_bytecode_is_written_and_invalid_sources_are_named(node: Node) -> None:
    # The environment's python hands over to the one that runs this test.
    files = {
        "bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        "lib/python3.11/good.py": "x = 1\n",
        "lib/python3.11/bad.py": "print 'two'\n",
        "lib/python3.11/tests/test_good.py": "x = 1\n",
    }
    node.lock(add_package(node.channel, "tool", "1.0", files))
    result = node.run()
    library = Path(result["prefix"]) / "lib/python3.11"
    compiled = sorted(p.name.split(".")[0] for p in library.rglob("*.pyc"))
    assert compiled == ["good"]
    assert result["uncompiled"] == [f"{library}/bad.py"]


def test_absent_removes_environment_and_kernelspec(node: Node) -> None:
    node.lock(add_package(node.channel, "ipykernel", "7", {"share/tool": "x"}))
    node.run(kernel="K")
    assert node.run(check=True, state="absent")["packages"]["removed"] == ["ipykernel"]
    assert node.home.exists()
    assert node.run(state="absent")["changed"] is True
    assert not node.home.exists()
    assert not node.kernel.parent.exists()
    assert node.run(state="absent")["changed"] is False
