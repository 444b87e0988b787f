"""The packed indexes of a channel say what repodata.json says, and rattler reads them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard

from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import conda
from landbridge.errors import InputError
from landbridge.lock import Lock, merge
from landbridge.stack import Stack
from tests.lab.serve import static
from tests.unit.small_upstreams import conda_channel, tool

# Which index the gateway is to read, then the URLs that it found.
SOLVE = """
import asyncio, os, rattler, sys
config = rattler.SourceConfig(sharded_enabled=sys.argv[2] == "shards", bz2_enabled=False)
gateway = rattler.Gateway(cache_dir=sys.argv[3], default_config=config)
found = asyncio.run(
    rattler.solve([sys.argv[1]], ["app"], gateway=gateway, platforms=["linux-64", "noarch"])
)
print(*sorted(f"{one.url}#{one.sha256.hex()}" for one in found), flush=True)
os._exit(0)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    channel = conda_channel(tmp_path / "channel")
    environments = {"one": {"packages": ["app"]}, "two": {"packages": ["other"]}}
    stack = Stack.model_validate(
        {
            "name": "s",
            "targets": ["el9-x86_64"],
            "conda": {"environments": environments},
            "sources": {"conda": {"channels": [channel.as_uri()]}},
        }
    )
    found = conda.resolve(stack, Cache(tmp_path / "cache"))
    return merge("s", stack.targets, [found])


def unpacked(file: Path) -> bytes:
    return zstandard.ZstdDecompressor().decompress(file.read_bytes())


def index(root: Path, lock: Lock) -> Path:
    conda.index(root, lock, Cache(root / "unused"))
    return root / "conda"


def with_text(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v.hex() if isinstance(v, bytes) else v for k, v in record.items()}


@pytest.mark.parametrize("subdir", ["linux-64", "noarch"])
def test_every_index_says_the_same(lock: Lock, tmp_path: Path, subdir: str) -> None:
    folder = index(tmp_path / "bundle", lock) / subdir
    plain = (folder / "repodata.json").read_bytes()
    assert unpacked(folder / "repodata.json.zst") == plain
    shards = msgpack.unpackb(unpacked(folder / "repodata_shards.msgpack.zst"))
    places = {"base_url": "./", "shards_base_url": "./shards/"}
    assert shards["info"] == {"subdir": subdir, **places}
    found: dict[str, dict[str, Any]] = {"packages": {}, "packages.conda": {}}
    for name, digest in shards["shards"].items():
        file = folder / "shards" / f"{digest.hex()}.msgpack.zst"
        assert hashlib.sha256(file.read_bytes()).digest() == digest
        shard = msgpack.unpackb(unpacked(file))
        for kind, records in found.items():
            assert {record["name"] for record in shard[kind].values()} <= {name}
            assert all(isinstance(record["sha256"], bytes) for record in shard[kind].values())
            records |= {file: with_text(record) for file, record in shard[kind].items()}
    data = json.loads(plain)
    assert found == {kind: data[kind] for kind in found}
    assert len(list((folder / "shards").iterdir())) == len(shards["shards"]) > 0


def test_equal_locks_give_equal_bytes(lock: Lock, tmp_path: Path) -> None:
    turned = lock.model_copy(update={"artifacts": lock.artifacts[::-1]})
    one, two = index(tmp_path / "one", lock), index(tmp_path / "two", turned)
    files = {path.relative_to(one) for path in one.rglob("*.zst")}
    # Of each of three packages a shard; of each of two subdirs two indexes.
    assert len(files) == 3 + 2 * 2
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)


@pytest.mark.parametrize("kind", ["shards", "zst"])
def test_rattler_reads_it_at_any_place(lock: Lock, tmp_path: Path, kind: str) -> None:
    channel = index(tmp_path / "served/some/where", lock)
    for subdir in ("linux-64", "noarch"):
        (channel / subdir / "repodata.json").unlink()
        if kind == "zst":
            (channel / subdir / "repodata_shards.msgpack.zst").unlink()
    with static({"some": tmp_path / "served/some"}) as url:
        place = f"{url}/some/where/conda"
        said = tool(sys.executable, "-c", SOLVE, place, kind, tmp_path / "rattler").split()
    digests = {a.path: a.sha256 for a in lock.artifacts if a.name in ("app", "lib")}
    assert said == sorted(f"{url}/some/where/{p}#{digest}" for p, digest in digests.items())


def test_what_builds_it_is_named_where_it_lacks(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "landbridge.ecosystems._conda_shards", raising=False)
    monkeypatch.delattr("landbridge.ecosystems._conda_shards", raising=False)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(InputError, match="the distribution `msgpack` is not installed") as caught:
        index(tmp_path / "bundle", lock)
    assert "landbridge[build]" in caught.value.mend
