"""A delta: of a bundle, only the files that the receiver lacks.

Format 1 of the folder:

- `delta.json`: `{"format": 1, "release": <the new one>, "bases": [<what the receiver has>]}`
- `metadata.tar.xz`: `manifest.json` first, then the texts that the receiver lacks. They change
  with each release and name the same hashes over and over, so they are compressed as one.
- the manifest's and the repositories' signatures, at their paths in the bundle
- all other files that the receiver lacks, at their paths in the bundle, as they are: packages
  are compressed already. Of equal files there is one.
"""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from landbridge.bundle import manifest, plain_tar
from landbridge.bundle.manifest import Entry, is_release
from landbridge.bundle.untrusted import (
    LARGEST_HEAD,
    open_file,
    read_file,
    read_json,
    strings_of,
)
from landbridge.errors import BundleError, InputError
from landbridge.files import link, need_space, put_in_place, recover, write_file

NAME = "delta.json"
METADATA = "metadata.tar.xz"
FORMAT = 1
_TEXTS = (".json", ".yml", ".yaml", ".lock", ".txt", ".md", ".html", ".xml", ".sh", "/PACKAGES")
_LARGEST_ABOUT = 1 << 20
# Texts are held in memory; those of a bundle with 100 000 packages stay below it.
_LARGEST_TEXTS = 1 << 30


@dataclass(frozen=True)
class DeltaMade:
    """What came of it.

    Attributes:
        release: what the receiver will have.
        bases: releases that it must have, in the order of the manifests given.
        files: files of the bundle that the delta carries.
        size: bytes of the delta's folder.
    """

    release: str
    bases: list[str]
    files: int
    size: int


@dataclass(frozen=True)
class About:
    """`delta.json`, see the top of this file."""

    release: str
    bases: list[str]


def delta(root: Path, have: Sequence[Path], output: Path) -> DeltaMade:
    """Write a delta; an older one at `output` stays until the new one is whole.

    Args:
        root: the bundle that the receiver is to have.
        have: `manifest.json` of each bundle that it has.
        output: the delta's folder.

    Raises:
        InputError: one of `have` is no manifest, or `output` is something else than a delta.
        BundleError: the bundle is damaged.
    """
    release, entries = manifest.read_manifest(root)
    held = [_manifest_at(path) for path in have]
    if output.exists() and not is_delta(output):
        raise InputError(f"{output}: exists and is not a delta", "name another folder")
    recover(output)
    lacking = _lacking(entries, (files for _, files in held))
    bases = list(dict.fromkeys(base for base, _ in held))
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    need_space(output.parent, sum(lacking.values()), "the delta")
    about = {"format": FORMAT, "release": release, "bases": bases}
    write_file(partial / NAME, json.dumps(about, indent=1) + "\n")
    _write_files(root, entries, lacking, partial)
    put_in_place(partial, output)
    size = sum((output / path).stat().st_size for path in manifest.all_files(output))
    return DeltaMade(release, bases, len(lacking), size)


def is_delta(folder: Path) -> bool:
    """Whether this folder says that it is a delta."""
    return (folder / NAME).is_file()


def read_about(root: Path) -> About:
    """Read `delta.json`.

    Raises:
        BundleError: it cannot be read.
    """
    found = read_json(read_file(root, NAME, _LARGEST_ABOUT), str(root / NAME), FORMAT)
    release, bases = found.get("release"), strings_of(found.get("bases"), str(root / NAME))
    if not is_release(release) or not all(map(is_release, bases)):
        raise BundleError(f"{root / NAME}: names no release", "carry the delta over again")
    return About(str(release), bases)


def read_manifest(root: Path) -> bytes:
    """The bytes of `manifest.json` out of a delta; nothing after it is looked at.

    Raises:
        BundleError: they cannot be read.
    """
    for name, content in _unpacked(root, LARGEST_HEAD):
        if name == manifest.NAME:
            return content
        break
    raise BundleError(f"{root / METADATA}: {manifest.NAME} is not its first file", _AGAIN)


def read_texts(root: Path, entries: Mapping[str, Entry]) -> dict[str, bytes]:
    """The texts that a delta carries, by path; their content is not checked.

    Args:
        root: the delta.
        entries: what the manifest promises; nothing else is accepted.

    Raises:
        BundleError: they cannot be read, or have a name or size that nobody promised.
    """
    texts: dict[str, bytes] = {}
    for name, content in _unpacked(root, LARGEST_HEAD, entries):
        if name != manifest.NAME:
            texts[name] = content
        if sum(map(len, texts.values())) > _LARGEST_TEXTS:
            raise BundleError(f"{root / METADATA}: larger than any text", _AGAIN)
    return texts


def signatures(entries: Mapping[str, Entry]) -> list[str]:
    """Where a bundle with these files has its signatures, the manifest's first."""
    places = (f"{path}.asc" for path in [manifest.NAME, *sorted(entries)])
    return [path for path in places if manifest.is_signature(path)]


def _lacking(entries: Mapping[str, Entry], held: Iterable[Mapping[str, Entry]]) -> dict[str, int]:
    """Size by path of the files to carry: by content, each once."""
    known = {entry.sha256 for files in held for entry in files.values()}
    lacking = {}
    for path in sorted(entries):
        if entries[path].sha256 not in known:
            known.add(entries[path].sha256)
            lacking[path] = entries[path].size
    return lacking


def _write_files(
    root: Path, entries: Mapping[str, Entry], lacking: Mapping[str, int], output: Path
) -> None:
    texts = [path for path in lacking if f"/{path}".endswith(_TEXTS)]
    _write_metadata(root, entries, texts, output / METADATA)
    for path in signatures(entries):
        if (root / path).is_file():
            write_file(output / path, (root / path).read_bytes())
    for path in lacking.keys() - set(texts):
        file = root / path
        if not file.is_file() or file.stat().st_size != lacking[path]:
            raise BundleError(f"{file}: missing or of another size than promised", _VERIFY)
        link(file, output / path)


def _write_metadata(
    root: Path, entries: Mapping[str, Entry], texts: Iterable[str], output: Path
) -> None:
    """The same files give the same bytes with the same liblzma."""
    packer = lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME)
    packed = b""
    for path in [manifest.NAME, *texts]:
        content = (root / path).read_bytes()
        if path in entries and sha256(content).hexdigest() != entries[path].sha256:
            raise BundleError(f"{root / path}: not what the manifest promises", _VERIFY)
        head = plain_tar.header(path, len(content))
        packed += packer.compress(head + content + plain_tar.padding(len(content)))
    write_file(output, packed + packer.compress(plain_tar.END) + packer.flush())


def _unpacked(
    root: Path, limit: int, promised: Mapping[str, Entry] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each text, the manifest's among them."""
    place = root / METADATA
    try:
        with open_file(root, METADATA) as file, lzma.open(file) as stream:
            for member in plain_tar.members(stream.read):
                if promised is not None and member.name != manifest.NAME:
                    entry = promised.get(member.name)
                    if entry is None or entry.size != member.size:
                        raise plain_tar.damaged(f"{member.name!r} is not in the manifest")
                yield member.name, member.content(limit)
    except (lzma.LZMAError, EOFError, OSError) as error:
        raise BundleError(f"{place}: cannot be read: {error}", _AGAIN) from error
    except BundleError as error:
        raise BundleError(f"{place}: {error.message}", error.mend) from error


def _manifest_at(path: Path) -> tuple[str, dict[str, Entry]]:
    file = path / manifest.NAME if path.is_dir() else path
    try:
        return manifest.parse(file.read_bytes(), file)
    except BundleError as error:
        raise InputError(error.message, f"give the {manifest.NAME} of a bundle") from error
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", "give the receiver's manifest") from error


_AGAIN = "carry the delta over again"
_VERIFY = "run landbridge bundle verify on the bundle and build it again"
