from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import conda
from landbridge.errors import InputError, SourceError
from landbridge.lock import Artifact, Kept, Lock, Part, merge
from landbridge.stack import Stack
from tests.lab.serve import static
from tests.unit.small_upstreams import conda_channel, conda_package, index_channel


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    return conda_channel(tmp_path / "channel")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def stack(*channels: str, **environments: list[str]) -> Stack:
    wanted = environments or {"base": ["app"]}
    return Stack.model_validate(
        {
            "name": "s",
            "targets": ["el9-x86_64"],
            "conda": {"environments": {n: {"packages": p} for n, p in wanted.items()}},
            "sources": {"conda": {"channels": list(channels)}},
        }
    )


def add(channel: Path, subdir: str, name: str, version: str, *depends: str) -> None:
    conda_package(channel, subdir, name, version, *depends)
    index_channel(channel)


def lock_of(part: Part) -> Lock:
    return merge("s", ["el9-x86_64"], [part])


def versions(part: Part) -> dict[str, str]:
    return {artifact.name: artifact.version for artifact in part.artifacts}


def describe(channel: Path, subdir: str, name: str, **fields: Any) -> None:
    """Change what the plain index of a channel says of a package; the packed one goes."""
    index = channel / subdir / "repodata.json"
    data = json.loads(index.read_text())
    for record in data["packages"].values():
        if record["name"] == name:
            record.update(fields)
    index.write_text(json.dumps(data))
    (channel / subdir / "repodata.json.zst").unlink()


def test_a_channel_over_http_is_read_packed_and_twice_the_same(
    channel: Path, cache: Cache, tmp_path: Path
) -> None:
    for subdir in ("linux-64", "noarch"):
        (channel / subdir / "repodata.json").write_text("not what is read")
    with static({"c": channel}) as url:
        first = conda.resolve(stack(f"{url}/c"), cache)
        again = conda.resolve(stack(f"{url}/c"), Cache(tmp_path / "other"))
    assert first == again
    assert first.environments == {
        "base": ["noarch/lib-1.0-0.tar.bz2", "linux-64/app-1.0-0.tar.bz2"]
    }
    library = next(a for a in first.artifacts if a.name == "lib")
    assert library.url == f"{url}/c/noarch/lib-1.0-0.tar.bz2"
    assert library.required_by == ["app"]


def test_only_the_newest_index_stays_unpacked(channel: Path, cache: Cache) -> None:
    with static({"c": channel}) as url:
        conda.resolve(stack(f"{url}/c"), cache)
        add(channel, "linux-64", "app", "2.0", "lib")
        assert versions(conda.resolve(stack(f"{url}/c"), cache))["app"] == "2.0"
    assert len(list(cache.folder("repodata").rglob("*.json"))) == 2, "one for each subdir"


def test_a_plain_index_and_a_channel_without_the_platform_are_enough(
    tmp_path: Path, cache: Cache
) -> None:
    folder = tmp_path / "noarch-only"
    conda_package(folder, "noarch", "app", "3.0")
    index_channel(folder)
    (folder / "noarch/repodata.json.zst").unlink()
    assert versions(conda.resolve(stack(folder.as_uri()), cache)) == {"app": "3.0"}
    with static({"c": folder}) as url:
        assert versions(conda.resolve(stack(f"{url}/c"), cache)) == {"app": "3.0"}


def test_a_folder_that_is_no_channel_is_named(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(SourceError, match=r"nosuch/noarch/repodata\.json"):
        conda.resolve(stack((tmp_path / "nosuch").as_uri()), cache)


def test_a_damaged_index_is_named(channel: Path, cache: Cache) -> None:
    (channel / "noarch/repodata.json.zst").write_bytes(b"no zstandard")
    with pytest.raises(SourceError, match=r"noarch/repodata\.json\.zst: cannot be unpacked"):
        conda.resolve(stack(channel.as_uri()), cache)


def test_the_first_channel_counts(channel: Path, cache: Cache, tmp_path: Path) -> None:
    second = tmp_path / "second"
    conda_package(second, "noarch", "lib", "9.0")
    conda_package(second, "noarch", "extra", "1.0")
    index_channel(second)
    wanted = stack(channel.as_uri(), second.as_uri(), base=["app", "extra"])
    assert versions(conda.resolve(wanted, cache)) == {"app": "1.0", "lib": "1.0", "extra": "1.0"}


def test_licence_and_day_come_from_the_record(channel: Path, cache: Cache) -> None:
    describe(channel, "linux-64", "app", license="MIT", timestamp=1700000000000)
    describe(channel, "noarch", "lib", license="BSD-3-Clause", timestamp=1500000000)
    found = conda.resolve(stack(channel.as_uri()), cache).artifacts
    assert {a.name: (a.license, a.released) for a in found} == {
        "app": ("MIT", "2023-11-14"),
        "lib": ("BSD-3-Clause", "2017-07-14"),
    }


def test_a_record_without_hash_is_learned(channel: Path, cache: Cache) -> None:
    index = channel / "noarch/repodata.json"
    data = json.loads(index.read_text())
    for record in data["packages"].values():
        record.pop("sha256")
    index.write_text(json.dumps(data))
    (channel / "noarch/repodata.json.zst").unlink()
    found = conda.resolve(stack(channel.as_uri()), cache).artifacts
    library = next(a for a in found if a.name == "lib")
    file = channel / "noarch/lib-1.0-0.tar.bz2"
    assert cache.path(library.sha256).read_bytes() == file.read_bytes()
    assert library.size == library.record["size"] == file.stat().st_size


def locked(channel: Path, cache: Cache, **environments: list[str]) -> Lock:
    return lock_of(conda.resolve(stack(channel.as_uri(), **environments), cache))


def kept_artifacts(part: Part, lock: Lock) -> list[str]:
    """Names of what is in the part as it is in the lock."""
    return sorted(a.name for a in part.artifacts if a in lock.artifacts)


def test_what_is_locked_stays_and_what_is_updated_moves(channel: Path, cache: Cache) -> None:
    lock = locked(channel, cache, base=["app", "other"])
    add(channel, "linux-64", "app", "2.0", "lib >=1")
    add(channel, "linux-64", "other", "2.0", "lib >=1")
    add(channel, "noarch", "lib", "2.0")
    wanted = stack(channel.as_uri(), base=["app", "other"])
    same = conda.resolve(wanted, cache, Kept(lock, frozenset()))
    assert lock_of(same) == lock
    moved = conda.resolve(wanted, cache, Kept(lock, frozenset({"app"})))
    assert versions(moved) == {"app": "2.0", "lib": "1.0", "other": "1.0"}
    assert kept_artifacts(moved, lock) == ["lib", "other"]


def test_an_update_takes_along_what_it_must(channel: Path, cache: Cache) -> None:
    """Upwards (app 2.0 needs another lib) and downwards (only app 2.0 allows lib 2.0)."""
    lock = locked(channel, cache, base=["app", "other"])
    add(channel, "linux-64", "app", "2.0", "lib >=2")
    add(channel, "noarch", "lib", "2.0")
    add(channel, "linux-64", "other", "2.0", "lib")
    wanted = stack(channel.as_uri(), base=["app", "other"])
    moved = conda.resolve(wanted, cache, Kept(lock, frozenset({"app"})))
    assert versions(moved) == {"app": "2.0", "lib": "2.0", "other": "1.0"}


def test_an_update_of_a_library_moves_who_held_it_back(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "channel"
    conda_package(folder, "linux-64", "app", "1.0", "lib <2")
    conda_package(folder, "noarch", "lib", "1.0")
    index_channel(folder)
    lock = locked(folder, cache)
    add(folder, "linux-64", "app", "2.0", "lib")
    add(folder, "noarch", "lib", "2.0")
    moved = conda.resolve(stack(folder.as_uri()), cache, Kept(lock, frozenset({"lib"})))
    assert versions(moved) == {"app": "2.0", "lib": "2.0"}


def test_what_left_the_channel_stays_locked(channel: Path, cache: Cache) -> None:
    lock = locked(channel, cache)
    (channel / "noarch/lib-1.0-0.tar.bz2").unlink()
    add(channel, "noarch", "lib", "2.0")
    assert "lib-1.0" not in (channel / "noarch/repodata.json").read_text()
    same = conda.resolve(stack(channel.as_uri()), cache, Kept(lock, frozenset()))
    assert lock_of(same) == lock


def test_an_environment_keeps_its_own(channel: Path, cache: Cache) -> None:
    """A package added to one environment is locked beside what another one holds."""
    lock = locked(channel, cache, base=["app"])
    add(channel, "linux-64", "app", "2.0", "lib >=1")
    wanted = stack(channel.as_uri(), base=["app"], more=["app"])
    found = conda.resolve(wanted, cache, Kept(lock, frozenset()))
    assert found.environments["base"] == lock.environments["base"]
    assert "linux-64/app-2.0-0.tar.bz2" in found.environments["more"]


def test_a_locked_package_that_is_no_longer_wanted_gives_way(channel: Path, cache: Cache) -> None:
    lock = locked(channel, cache)
    add(channel, "linux-64", "app", "2.0", "lib >=1")
    wanted = stack(channel.as_uri(), base=["app >=2"])
    found = conda.resolve(wanted, cache, Kept(lock, frozenset()))
    assert versions(found) == {"app": "2.0", "lib": "1.0"}


def test_names_of_channels_become_urls() -> None:
    (url,) = conda._urls(["some-channel"])
    assert url.startswith("https://")
    assert url.endswith("/some-channel")


@pytest.mark.parametrize("spec", ["nosuch >=1", "app >=>"])
def test_a_wrong_wish_names_the_environment(channel: Path, cache: Cache, spec: str) -> None:
    with pytest.raises(InputError, match=f"(?s)environment 'base'.*{spec.rsplit(maxsplit=1)[-1]}"):
        conda.resolve(stack(channel.as_uri(), base=[spec]), cache)


def test_the_index_is_what_the_solver_saw(channel: Path, cache: Cache, tmp_path: Path) -> None:
    describe(channel, "noarch", "lib", constrains=["app >=1"])
    lock = locked(channel, cache)
    conda.index(tmp_path / "bundle", lock, cache)
    data = json.loads((tmp_path / "bundle/conda/noarch/repodata.json").read_text())
    assert data["packages"]["lib-1.0-0.tar.bz2"]["constrains"] == ["app >=1"]
    artifact: Artifact = next(a for a in lock.artifacts if a.name == "app")
    explicit = (tmp_path / "bundle/conda/envs/base.linux-64.txt").read_text()
    assert f"linux-64/app-1.0-0.tar.bz2#{artifact.sha256}" in explicit
