"""A channel's packed indexes: `repodata.json.zst`, and a shard for each package name (CEP 16).

A client that knows shards reads those of the packages that it considers, instead of all there is.
What is here needs distributions of the extra `build`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import zstandard

from landbridge.files import write_file

SHARDS = "shards"
# One level for ever: equal records give equal bytes.
_LEVEL = 19
_KINDS = ("packages", "packages.conda")
# In shards these are bytes.
_DIGESTS = ("md5", "sha256")


def write(folder: Path, text: str) -> None:
    """Write the packed indexes of a subdir, from which files are found wherever the channel is.

    Args:
        folder: the subdir's folder.
        text: its `repodata.json`, whose order is kept.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    write_file(folder / "repodata.json.zst", compressor.compress(text.encode()))
    repodata, digests = json.loads(text), {}
    for name, shard in sorted(_shards(repodata).items()):
        data = compressor.compress(_packed(shard))
        digest = hashlib.sha256(data)
        write_file(folder / SHARDS / f"{digest.hexdigest()}.msgpack.zst", data)
        digests[name] = digest.digest()
    places = {"base_url": "./", "shards_base_url": f"./{SHARDS}/"}
    index = {"version": 1, "info": {**repodata["info"], **places}, "shards": digests}
    write_file(folder / "repodata_shards.msgpack.zst", compressor.compress(_packed(index)))


def _shards(repodata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The records by the name of the package."""
    shards: dict[str, dict[str, Any]] = {}
    for kind in _KINDS:
        for file, record in repodata[kind].items():
            empty: dict[str, Any] = {**{kind: {} for kind in _KINDS}, "removed": []}
            digests = {key: bytes.fromhex(record[key]) for key in _DIGESTS if record.get(key)}
            shards.setdefault(record["name"], empty)[kind][file] = {**record, **digests}
    return shards


def _packed(data: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(data)
    return packed
