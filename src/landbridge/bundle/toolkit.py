"""The toolkit's own part of a bundle: landbridge, what its virtual environment needs, collections.

Of the shape of an ecosystem: `resolve` and `index`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from landbridge.bundle.fetch import BUILT, SEAL
from landbridge.ecosystems import Learner
from landbridge.ecosystems.pypi import wheels
from landbridge.ecosystems.rpm import TOOLKIT_MINORS
from landbridge.errors import InputError
from landbridge.files import scratch, sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run
from landbridge.stack import Stack
from landbridge.targets import lowest

WHEELS = "toolkit/wheels"
COLLECTIONS = "collections"
COLLECTION_NAMES = ("ansible.posix", "community.general", "containers.podman")
# pip works mostly on one core and waits for the network in between.
RESOLVERS = 2
_OWN = "landbridge"
_BUILD_EXTRA = "pip install 'landbridge[build]'"


def resolve(stack: Stack, learner: Learner, _kept: Kept | None = None) -> Part:
    """Make our wheel and the collections; lock the wheels for each Python a node may have."""
    platform = lowest(stack.targets)
    pythons = [f"3.{minor}" for minor in TOOLKIT_MINORS]
    with scratch(learner.folder("incoming")) as folder, ThreadPoolExecutor(RESOLVERS) as pool:
        own = _own_wheel(folder)
        found = [pool.submit(wheels, [own, "pip"], p, platform, learner) for p in pythons]
        artifacts = [_collection(name, learner) for name in COLLECTION_NAMES]
        artifacts += [_moved(wheel) for future in found for wheel in future.result()]
    return Part(artifacts)


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write the hashed requirements of each Python."""
    for minor in TOOLKIT_MINORS:
        python = f"3.{minor}"
        lines = [
            f"{artifact.name}=={artifact.version} --hash=sha256:{artifact.sha256}\n"
            for artifact in lock.of("toolkit")
            if python in artifact.targets
        ]
        write_file(root / "toolkit" / f"requirements-{python}.txt", "".join(lines))


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
    for minor in TOOLKIT_MINORS:
        mine = [a for a in lock.of("toolkit") if f"3.{minor}" in a.targets]
        sets.append(sum(_zip_bytes(root / artifact.path) for artifact in mine))
    return max(sets) + sum(_tar_bytes(root / a.path) for a in lock.of("collection"))


def _moved(artifact: Artifact) -> Artifact:
    """A wheel of the toolkit instead of one that users may install."""
    changes: dict[str, Any] = {"ecosystem": "toolkit", "path": f"{WHEELS}/{artifact.file}"}
    if artifact.name == _OWN:
        changes["url"] = f"{BUILT}{artifact.file}"
    return artifact.model_copy(update=changes)


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


def _collection(name: str, learner: Learner) -> Artifact:
    """Pack an Ansible collection, as Galaxy would, from the installed distribution `ansible`."""
    try:
        folder = Path(str(distribution("ansible").locate_file("ansible_collections")))
    except PackageNotFoundError as error:
        raise InputError(
            "the distribution `ansible`, which brings the collections, is not installed",
            _BUILD_EXTRA,
        ) from error
    source = folder.joinpath(*name.split("."))
    manifest = json.loads((source / "MANIFEST.json").read_text(encoding="utf-8"))
    version = manifest["collection_info"]["version"]
    with scratch(learner.folder("incoming")) as work:
        packed = work / "collection.tar.gz"
        packed.write_bytes(pack_collection(source, manifest))
        file = learner.store(packed)
    base = name.replace(".", "-")
    return Artifact(
        ecosystem="collection",
        name=name,
        version=version,
        path=f"{COLLECTIONS}/{base}-{version}.tar.gz",
        url=f"{BUILT}{base}-{version}.tar.gz",
        sha256=sha256_of(file),
        size=file.stat().st_size,
    )


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
