"""Locks of small real upstreams: made twice, updated, checked, enforced."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from landbridge.bundle.build import Options, build
from landbridge.errors import InputError, PolicyError
from landbridge.lock import Lock, load_lock
from landbridge.lock_diff import diff
from landbridge.lock_file import Inputs, check_lock
from landbridge.locking import lock_stack
from tests.unit import small_upstreams as small


class Mirror(NamedTuple):
    """Upstreams of one's own, to which newer packages come."""

    root: Path
    inputs: Inputs

    def lock(self, *names: str) -> Lock:
        lock_stack(self.inputs, lambda _line: None, names=names)
        return load_lock(self.inputs.lock_path)


def make_mirror(site: Any, folder: Path) -> Mirror:
    root = folder / "mirror"
    for name in ("el9", "conda", "cran", "wheels"):
        shutil.copytree(site.root / name, root / name)
    sources = yaml.safe_load(site.sources.read_text().replace(str(site.root), str(root)))
    (folder / "sources.yml").write_text(yaml.dump(sources))
    stack = yaml.safe_load(site.stack.read_text()) | {"targets": ["el9-x86_64"]}
    (folder / "stack.yml").write_text(yaml.dump(stack))
    inputs = Inputs(
        stack_file=folder / "stack.yml",
        sources=folder / "sources.yml",
        cache=folder / "cache",
    )
    return Mirror(root, inputs)


@pytest.fixture
def mirror(site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    made = make_mirror(site, tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.root / "wheels"))
    return made


@pytest.fixture(scope="module")
def grown(site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mirror, Path]]:
    """A mirror to which newer packages came after it was locked, and that older lock."""
    folder = tmp_path_factory.mktemp("grown")
    made = make_mirror(site, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_FIND_LINKS", str(made.root / "wheels"))
        made.lock()
        shutil.copy(made.inputs.lock_path, folder / "old.lock")
        newer_of_everything(made.root)
        yield made, folder / "old.lock"


@pytest.fixture
def aged(grown: tuple[Mirror, Path]) -> Mirror:
    """That mirror, with the older lock in place."""
    made, old = grown
    shutil.copy(old, made.inputs.lock_path)
    return made


def newer_of_everything(mirror: Path) -> None:
    """One more version of packages of every ecosystem but images."""
    work = mirror / "work"
    work.mkdir()
    for name, version in (("hello", "1.1"), ("libhello", "2.1")):
        needs = ("libhello",) if name == "hello" else ()
        shutil.copy(small.build_rpm(work, name, version, *needs), mirror / "el9/repo")
    small.tool("createrepo_c", "--quiet", mirror / "el9/repo")
    small.conda_package(mirror / "conda", "linux-64", "app", "1.5", "lib >=2", "__glibc >=2.34")
    small.conda_package(mirror / "conda", "noarch", "lib", "2.2")
    shutil.rmtree(mirror / "conda/.cache", ignore_errors=True)
    small.index_channel(mirror / "conda")
    # As on CRAN: the older versions move on.
    contrib = mirror / "cran/src/contrib"
    contrib.rename(mirror / "older")
    stanzas = {
        "Top": {"Version": "1.1", "Depends": "R (>= 3.5)", "Imports": "Middle,\n    utils"},
        "Middle": {"Version": "0.2-1", "LinkingTo": "Low (>= 1.0)"},
        "Low": {"Version": "1.2"},
    }
    shutil.rmtree(mirror / "cran")
    small.cran_mirror(mirror / "cran", stanzas)
    for name in ("Top", "Low"):
        archive = contrib / "Archive" / name
        archive.mkdir(parents=True)
        shutil.copy(next((mirror / "older").glob(f"{name}_*")), archive)
    small.wheel(mirror / "wheels", "tool", "1.1", "old_backport; python_version < '3.12'")
    small.wheel(mirror / "wheels", "old_backport", "0.6")


def test_the_same_upstreams_give_the_same_bytes(mirror: Mirror) -> None:
    mirror.lock()
    first = mirror.inputs.lock_path.read_bytes()
    mirror.inputs.lock_path.unlink()
    shutil.rmtree(mirror.inputs.cache)
    mirror.lock()
    assert mirror.inputs.lock_path.read_bytes() == first


def test_an_unchanged_lock_is_not_touched(mirror: Mirror) -> None:
    mirror.lock()
    before = mirror.inputs.lock_path.stat()
    again = lock_stack(mirror.inputs, lambda _line: None)
    assert not again.changed
    assert again.difference.text() == ""
    after = mirror.inputs.lock_path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("names", "changed"),
    [
        (["lib"], ["conda lib 2.1 0 -> 2.2 0"]),
        (["libhello"], ["rpm libhello [el9-x86_64] 0:2.0 1.noarch -> 0:2.1 1.noarch"]),
        (["tool"], ["pypi tool [3.11] [3.12] 1.0 -> 1.1"]),
        (["Low"], ["cran Low [site] 1.1 -> 1.2"]),
        (
            ["app", "hello"],
            [
                "conda app 1.0 0 -> 1.5 0",
                "rpm hello [el9-x86_64] 0:1.0 1.noarch -> 0:1.1 1.noarch",
            ],
        ),
    ],
)
def test_an_update_changes_what_is_named_and_nothing_else(
    aged: Mirror, names: list[str], changed: list[str]
) -> None:
    before = load_lock(aged.inputs.lock_path)
    found = diff(before, aged.lock(*names))
    assert [str(change) for change in found.changed] == changed
    assert (found.added, found.removed) == ([], [])


def test_without_names_everything_is_the_newest(aged: Mirror) -> None:
    before = load_lock(aged.inputs.lock_path)
    found = diff(before, aged.lock())
    assert [f"{change.ecosystem} {change.name}" for change in found.changed] == [
        "conda app", "conda lib", "cran Low", "cran Top", "pypi old-backport", "pypi tool",
        "rpm hello", "rpm libhello", "toolkit old-backport",
    ]  # fmt: skip


def test_a_new_wish_may_be_named_and_the_rest_stays(aged: Mirror) -> None:
    before = load_lock(aged.inputs.lock_path)
    original = aged.inputs.stack_file.read_text()
    stack = yaml.safe_load(original)
    stack["rpm"]["packages"].append("python3.12")
    stack["r"]["packages"] = ["Middle"]
    aged.inputs.stack_file.write_text(yaml.dump(stack))
    assert check_lock(aged.inputs) == [
        "r.packages: Middle is wanted but not locked",
        "r.packages: Top is locked but no longer wanted",
        "rpm.packages: python3.12 is wanted but not locked",
    ]
    found = diff(before, aged.lock("python3.12", "Top"))
    assert [change.name for change in found.changed] == []
    assert [change.name for change in found.removed] == ["Top"]
    assert check_lock(aged.inputs) == []
    aged.inputs.stack_file.write_text(original)


def test_a_lock_that_does_not_fit_is_refused_by_the_build(mirror: Mirror) -> None:
    mirror.lock()
    stack = yaml.safe_load(mirror.inputs.stack_file.read_text())
    stack["rpm"]["packages"].append("libhello")
    mirror.inputs.stack_file.write_text(yaml.dump(stack))
    made = Options(**vars(mirror.inputs), output=mirror.root / "bundle")
    with pytest.raises(InputError, match=r"rpm\.packages: libhello is wanted but not") as no:
        build(made, lambda _line: None)
    assert no.value.exit_code == 2
    assert f"landbridge lock {mirror.inputs.stack_file}" in no.value.mend
    assert not made.output.exists()


def test_the_policy_holds_for_locks_and_for_builds(mirror: Mirror) -> None:
    policy = mirror.inputs.policy_path
    assert policy is None
    policy = mirror.inputs.stack_file.with_name("policy.yml")
    policy.write_text(yaml.dump({"rpm": {"deny": ["libhello"]}}))
    with pytest.raises(PolicyError, match="libhello"):
        mirror.lock()
    assert not mirror.inputs.lock_path.exists(), "what is forbidden is not written"
    policy.unlink()
    mirror.lock()
    policy.write_text(yaml.dump({"rpm": {"deny": ["libhello"]}}))
    with pytest.raises(PolicyError, match="libhello"):
        check_lock(mirror.inputs)
    with pytest.raises(PolicyError, match="libhello"):
        build(Options(**vars(mirror.inputs), output=mirror.root / "bundle"), lambda _line: None)


def landbridge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The program, without a network: whatever it wanted there would fail."""
    program = Path(sys.executable).with_name("landbridge")
    return subprocess.run(
        ["unshare", "-rn", program, *arguments], capture_output=True, text=True, check=False
    )


def test_check_and_diff_on_the_command_line_want_no_network(mirror: Mirror, tmp_path: Path) -> None:
    stack = mirror.inputs.stack_file
    missing = landbridge("lock", stack, "--check")
    assert missing.returncode == 2
    assert f"run `landbridge lock {stack}`" in missing.stderr
    mirror.lock()
    assert landbridge("lock", stack, "--check").returncode == 0
    old = tmp_path / "old.lock"
    shutil.copy(mirror.inputs.lock_path, old)
    text = stack.read_text()
    stack.write_text(text.replace("- hello", "- libhello"))
    unfit = landbridge("lock", "--check", "--json", stack)
    assert unfit.returncode == 1
    assert json.loads(unfit.stdout)["faults"] == [
        "rpm.packages: hello is locked but no longer wanted",
        "rpm.packages: libhello is wanted but not locked",
    ]
    mirror.lock("hello")
    done = landbridge("lock", "diff", old, mirror.inputs.lock_path)
    assert done.returncode == 0
    assert "- rpm hello [el9-x86_64] 0:1.0 1.noarch\n" in done.stdout
    data: dict[str, Any] = json.loads(
        landbridge("lock", "diff", "--json", old, mirror.inputs.lock_path).stdout
    )
    assert [change["name"] for change in data["removed"]["rpm"]] == ["hello"]
