"""The toolkit's own part of a bundle: landbridge, what its virtual environment needs, collections.

Of the shape of an ecosystem: `resolve`, `index`, and `make` for what has no source.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from landbridge.bundle import docs
from landbridge.bundle.fetch import BUILT
from landbridge.bundle.part import SEAL
from landbridge.ecosystems import Learner
from landbridge.ecosystems.pypi import requirements, wheels
from landbridge.ecosystems.rpm import TOOLKIT_MINORS
from landbridge.errors import InputError
from landbridge.files import link, scratch, sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run
from landbridge.stack import Sources, Stack
from landbridge.targets import lowest

WHEELS = "toolkit/wheels"
COLLECTIONS = "collections"
COLLECTION_NAMES = ("ansible.posix", "community.general", "containers.podman")
# pip works mostly on one core and waits for the network in between.
RESOLVERS = 2
_PYTHONS = tuple(f"3.{minor}" for minor in TOOLKIT_MINORS)
_OWN = "landbridge"
_BUILD_EXTRA = "pip install 'landbridge[build]'"


def resolve(stack: Stack, learner: Learner, kept: Kept | None = None) -> Part:
    """Make our wheel and the collections; lock the wheels for each Python a node may have."""
    platform = lowest(stack.targets)
    with scratch(learner.folder("incoming")) as folder, ThreadPoolExecutor(RESOLVERS) as pool:
        own = _own(folder, learner, kept)
        if kept and not _is_own(kept.of("toolkit"), own):
            kept = kept._replace(update=kept.update | {_OWN})
        collections = [_collection(name, learner, kept) for name in COLLECTION_NAMES]
        if kept and kept.lock.targets == stack.targets and _is_whole(kept):
            return Part([*collections, *kept.of("toolkit")])
        ask = partial(wheels, [own, "pip"], platform=platform, kept=kept, ecosystem="toolkit")
        found = [pool.submit(ask, python=p, learner=learner) for p in _PYTHONS]
        return Part([*collections, *(_moved(a) for future in found for a in future.result())])


def make(artifact: Artifact, _sources: Sources, learner: Learner) -> None:
    """Make our wheel or a collection as it was when it was locked, and bring it into the cache.

    Raises:
        InputError: what is installed here now gives other bytes.
    """
    if learner.has(artifact.sha256):
        return
    with scratch(learner.folder("incoming")) as folder:
        made = _own_wheel(folder) if artifact.name == _OWN else _pack(artifact.name, folder)
        if sha256_of(made) != artifact.sha256:
            what = _OWN if artifact.name == _OWN else f"collection {artifact.name}"
            raise InputError(
                f"{artifact.path}: the lock was made with another {what}",
                f"landbridge lock --update {artifact.name} STACK",
            )
        _store(made, folder, learner)


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write the hashed requirements of each Python, and the documentation of our wheel."""
    for python in _PYTHONS:
        text = requirements(lock.of("toolkit"), python)
        write_file(root / "toolkit" / f"requirements-{python}.txt", text)
    for artifact in lock.of("toolkit"):
        if artifact.name == _OWN:
            docs.write(root / artifact.path, root / docs.FOLDER)


def toolkit_id(files: dict[str, str]) -> str:
    """12 hex digits for everything under toolkit/ and collections/.

    Args:
        files: sha256 of every file of the bundle, by its path.
    """
    mine = sorted(path for path in files if path.startswith(("toolkit/", f"{COLLECTIONS}/")))
    text = "".join(f"{files[path]}  {path}\n" for path in mine)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unpacked_bytes(root: Path, lock: Lock) -> int:
    """Bytes of the toolkit on a node: the largest of the Pythons' sets, and the collections."""
    sets = []
    for python in _PYTHONS:
        mine = [a for a in lock.of("toolkit") if python in a.targets]
        sets.append(sum(_zip_bytes(root / artifact.path) for artifact in mine))
    return max(sets) + sum(_tar_bytes(root / a.path) for a in lock.of("collection"))


def _moved(artifact: Artifact) -> Artifact:
    """A wheel of the toolkit instead of one that users may install."""
    changes: dict[str, Any] = {"ecosystem": "toolkit", "path": f"{WHEELS}/{artifact.file}"}
    if artifact.name == _OWN:
        changes |= {"url": f"{BUILT}{artifact.file}", "released": ""}
    return artifact.model_copy(update=changes)


def _is_own(locked: list[Artifact], own: Path) -> bool:
    """Whether `own` is the wheel of ours that is locked."""
    return any(a.name == _OWN and a.sha256 == sha256_of(own) for a in locked)


def _is_whole(kept: Kept) -> bool:
    """Whether all of the toolkit stays: then nothing can have changed in what it needs."""
    pythons = {python for artifact in kept.of("toolkit") for python in artifact.targets}
    return kept.of("toolkit") == kept.lock.of("toolkit") and pythons == set(_PYTHONS)


def _own(folder: Path, learner: Learner, kept: Kept | None) -> Path:
    """Our wheel under its name: the locked one if it is still in the cache, else made now."""
    for artifact in kept.of("toolkit") if kept else []:
        if artifact.name == _OWN and learner.has(artifact.sha256):
            link(learner.path(artifact.sha256), folder / artifact.file)
            return folder / artifact.file
    made = _own_wheel(folder)
    _store(made, folder, learner)
    return made


def _store(made: Path, folder: Path, learner: Learner) -> None:
    """Bring a copy of a file into the cache."""
    copy = folder / "copy"
    shutil.copyfile(made, copy)
    learner.store(copy)


def _own_wheel(folder: Path) -> Path:
    """Our own wheel: built from our checkout, or put together from what is installed."""
    own = distribution(_OWN)
    origin = json.loads(own.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        tree = Path(unquote(urlsplit(origin["url"]).path))
        _build_wheel(tree, folder)
    else:
        _repack_wheel(own, folder)
    return next(folder.glob("*.whl"))


def _build_wheel(tree: Path, folder: Path) -> None:
    try:
        distribution("hatchling")
    except PackageNotFoundError as error:
        raise InputError("hatchling is not installed", _BUILD_EXTRA) from error
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, tree],
        package="pip",
        env={"SOURCE_DATE_EPOCH": str(SEAL)},
    )


def _repack_wheel(own: Distribution, folder: Path) -> None:
    """A wheel from the files that an installed one left, as its RECORD lists them."""
    info = f"{_OWN}-{own.version}.dist-info"
    made_by_installer = {f"{info}/{name}" for name in ("INSTALLER", "REQUESTED", "RECORD")}
    made_by_installer.add(f"{info}/direct_url.json")
    contents = {
        str(file): Path(str(file.locate())).read_bytes()
        for file in own.files or []
        if ".." not in file.parts
        and "__pycache__" not in file.parts
        and str(file) not in made_by_installer
    }
    record = [f"{name},{_record_hash(data)},{len(data)}" for name, data in sorted(contents.items())]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(folder / f"{_OWN}-{own.version}-py3-none-any.whl", "w") as wheel:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED)


def _record_hash(data: bytes) -> str:
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _collection(name: str, learner: Learner, kept: Kept | None) -> Artifact:
    """The locked collection if it is still in the cache, else it is packed now."""
    for artifact in kept.of("collection") if kept else []:
        if artifact.name == name and learner.has(artifact.sha256):
            return artifact
    with scratch(learner.folder("incoming")) as folder:
        packed = _pack(name, folder)
        file = learner.store(packed)
    info = _manifest(name)["collection_info"]
    return Artifact(
        ecosystem="collection",
        name=name,
        version=info["version"],
        path=f"{COLLECTIONS}/{packed.name}",
        url=f"{BUILT}{packed.name}",
        sha256=sha256_of(file),
        size=file.stat().st_size,
        license=_license(name, info),
    )


def _license(name: str, info: dict[str, Any]) -> str:
    """The licences that a collection names, else the title of its licence file."""
    if info.get("license"):
        return " AND ".join(info["license"])
    if not info.get("license_file"):
        return ""
    text = (_collection_folder(name) / info["license_file"]).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ", ".join(lines[:2])


def _pack(name: str, folder: Path) -> Path:
    """Pack an Ansible collection, as Galaxy would, under Galaxy's file name."""
    manifest = _manifest(name)
    version = manifest["collection_info"]["version"]
    packed = folder / f"{name.replace('.', '-')}-{version}.tar.gz"
    packed.write_bytes(pack_collection(_collection_folder(name), manifest))
    return packed


def _manifest(name: str) -> dict[str, Any]:
    text = (_collection_folder(name) / "MANIFEST.json").read_text(encoding="utf-8")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def _collection_folder(name: str) -> Path:
    """Where the distribution `ansible` has a collection."""
    try:
        folder = Path(str(distribution("ansible").locate_file("ansible_collections")))
    except PackageNotFoundError as error:
        raise InputError(
            "the distribution `ansible`, which brings the collections, is not installed",
            _BUILD_EXTRA,
        ) from error
    return folder.joinpath(*name.split("."))


def pack_collection(source: Path, manifest: dict[str, Any]) -> bytes:
    """A collection's tarball, the same bytes for the same files.

    Args:
        source: folder of the collection.
        manifest: its MANIFEST.json; the list of files is made anew, because the distribution
            leaves some of Galaxy's files out.
    """
    listed: list[dict[str, Any]] = [_listed(".", None)]
    members: dict[str, bytes | None] = {}
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if "__pycache__" in path.parts or name in ("MANIFEST.json", "FILES.json"):
            continue
        members[name] = None if path.is_dir() else path.read_bytes()
        listed.append(_listed(name, members[name]))
    files = _json({"files": listed, "format": 1})
    entry = {**manifest["file_manifest_file"], "chksum_sha256": hashlib.sha256(files).hexdigest()}
    head = {
        "MANIFEST.json": _json({**manifest, "file_manifest_file": entry}),
        "FILES.json": files,
    }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {**head, **members}.items():
            member = tarfile.TarInfo(name)
            member.mtime = SEAL
            member.mode = 0o755 if data is None else 0o644
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.size = len(data or b"")
            tar.addfile(member, io.BytesIO(data or b""))
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)


def _listed(name: str, data: bytes | None) -> dict[str, Any]:
    """An entry of FILES.json; a folder where `data` is None."""
    if data is None:
        kind, checksum = {"ftype": "dir", "chksum_type": None}, None
    else:
        kind = {"ftype": "file", "chksum_type": "sha256"}
        checksum = hashlib.sha256(data).hexdigest()
    return {"name": name, **kind, "chksum_sha256": checksum, "format": 1}


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _zip_bytes(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _tar_bytes(path: Path) -> int:
    with tarfile.open(path) as archive:
        return sum(member.size for member in archive)
