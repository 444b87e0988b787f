"""What a build would do, told without doing any of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle.build import Options
from landbridge.bundle.plan import Plan, plan
from landbridge.errors import InputError
from landbridge.lock import load_lock


@pytest.fixture
def options(site, bundle: Path, tmp_path: Path) -> Options:
    """The site's stack and the lock of its bundle, with an empty cache."""
    shutil.copy(bundle / "stack.lock", tmp_path / "stack.lock")
    return Options(
        stack_file=site.stack,
        lock_file=tmp_path / "stack.lock",
        output=tmp_path / "bundle",
        cache=tmp_path / "cache",
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket is opened")

    monkeypatch.setattr("socket.socket", refuse)
    yield


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.usefixtures("no_network")
def test_an_empty_cache_needs_everything(options: Options, bundle: Path) -> None:
    found = plan(options)
    lock = load_lock(bundle / "stack.lock")
    assert not options.cache.exists()
    assert not options.output.exists()
    fetched = [a for a in lock.artifacts if not a.url.startswith("built:")]
    unique = {artifact.sha256: artifact.size for artifact in fetched}
    assert found.fetch_bytes == sum(unique.values())
    assert found.ecosystems["oci"].fetch_files == 1
    assert found.ecosystems["oci"].hosts[0].startswith("docker://127.0.0.1:")
    assert found.ecosystems["conda"].hosts == ["file://"]
    assert found.ecosystems["toolkit"].made == ["landbridge-0.1.0-py3-none-any.whl"]
    assert len(found.ecosystems["collection"].made) == 3
    assert found.cache.needed >= found.fetch_bytes
    assert found.enough
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    assert found.release_bytes >= size
    assert found.installed_bytes["rpm"] == {
        target: sum(a.installed_size for a in lock.of("rpm") if target in a.targets)
        for target in lock.targets
    }


@pytest.mark.usefixtures("no_network")
def test_a_full_cache_needs_nothing_and_stays_as_it_is(options: Options, bundle: Path) -> None:
    options = Options(**{**vars(options), "cache": bundle.parent / "cache"})
    before = tree(bundle.parent)
    found = plan(options)
    assert found.fetch_bytes == found.cache.needed == 0
    assert all(not share.made and not share.hosts for share in found.ecosystems.values())
    # Beside the links there are the indexes and the lock alone.
    assert found.output.needed < found.release_bytes
    assert tree(bundle.parent) == before


def test_too_little_space_is_said(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    small = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: small)
    found = plan(options)
    assert not found.enough
    assert found.cache.free == found.output.free == 10


def test_one_filesystem_must_hold_cache_and_bundle(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = plan(options)
    free = max(needed.cache.needed, needed.output.needed)
    tight = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: tight)
    assert not plan(options).enough


def test_hosts_are_named_without_credentials(options: Options, bundle: Path) -> None:
    text = (bundle / "stack.lock").read_text()
    url = next(a.url for a in load_lock(bundle / "stack.lock").of("cran") if a.name == "Top")
    secret = text.replace(f"url: {url}\n", "url: https://me:word@mirror.example.com:8443/Top\n")
    assert secret != text
    assert options.lock_file
    options.lock_file.write_text(secret)
    assert plan(options).ecosystems["cran"].hosts == ["file://", "https://mirror.example.com:8443"]


def test_without_a_lock_the_mend_is_named(options: Options) -> None:
    assert options.lock_file
    options.lock_file.unlink()
    with pytest.raises(InputError, match="there is no such lock") as caught:
        plan(options)
    assert f"landbridge lock {options.stack_file}" in caught.value.mend


def test_the_command_line_tells_it_without_a_network(options: Options) -> None:
    program = Path(sys.executable).with_name("landbridge")
    places = ["--lock", options.lock_file, "--output", options.output, "--cache", options.cache]
    command = ["unshare", "-rn", program, "bundle", "plan", options.stack_file, *places]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    found: Plan = plan(options)
    assert data["fetch_bytes"] == found.fetch_bytes
    assert data["enough"] is True
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "docker://127.0.0.1:" in shown
    assert "enough: yes" in shown
    assert not options.cache.exists()
