"""Images: their digest fixed at lock time, carried as one OCI layout."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from landbridge.bundle.part import SEAL
from landbridge.ecosystems import Learner
from landbridge.errors import SourceError
from landbridge.files import link, scratch, sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run, tail
from landbridge.stack import ImageWanted, Sources, Stack

LAYOUT = "images"
_NAME = "org.opencontainers.image.ref.name"
_LICENSES = "org.opencontainers.image.licenses"
_DOCKER = "application/vnd.docker."
_DOCKER_URL = "docker://"


class _Blob(NamedTuple):
    """A blob of the cache: hex sha256 and bytes."""

    digest: str
    size: int

    @classmethod
    def of(cls, descriptor: dict[str, Any]) -> _Blob:
        """From a descriptor of an OCI manifest."""
        return cls(descriptor["digest"].removeprefix("sha256:"), descriptor["size"])


def resolve(stack: Stack, learner: Learner, kept: Kept | None = None) -> Part:
    """Fix each image's digest; its blobs travel later (`make`)."""
    locked = {a.path: a for a in kept.of("oci")} if kept else {}
    images = sorted(stack.images, key=lambda image: image.name)
    return Part(
        [
            locked.get(image.node_name) or _artifact(image, stack.sources, learner)
            for image in images
        ]
    )


def make(artifact: Artifact, sources: Sources, learner: Learner) -> None:
    """Bring an image into the cache: a layout of its own, blobs shared by all.

    Raises:
        SourceError: the registry cannot be read, or does not have the locked digest.
    """
    if has(artifact, learner):
        return
    source = artifact.url.removeprefix(_DOCKER_URL)
    manifest, _ = _manifest(source, sources, learner)
    for part in (manifest["config"], *manifest["layers"]):
        # skopeo takes blobs that are there as they are, so damaged ones must go before.
        blob = _Blob.of(part)
        _is_whole(_blob(blob.digest, learner), blob)
    _blob(artifact.sha256, learner).unlink(missing_ok=True)
    layout = _layout(artifact.sha256, learner)
    shutil.rmtree(layout, ignore_errors=True)
    # An OCI layout cannot hold Docker's own manifests: those are converted, layers untouched.
    docker = str(manifest.get("mediaType", "")).startswith(_DOCKER)
    options = [] if docker else ["--preserve-digests"]
    options.append(f"--dest-shared-blob-dir={learner.folder('images/blobs')}")
    with _registry(source, sources, learner, "src-") as (reach, env):
        copy = ["skopeo", "copy", "--quiet", *options, *reach, artifact.url, f"oci:{layout}"]
        done = run(copy, package="skopeo", check=False, env=env)
    if done.returncode:
        raise SourceError(f"{artifact.url}: {tail(done, 3)}", "check the registry")
    for blob in _blobs(layout, learner):
        _seal(_blob(blob.digest, learner))
    write_file(layout / "complete", "")


def has(artifact: Artifact, learner: Learner) -> bool:
    """Whether an image is in the cache, each of its blobs whole; a damaged one is removed."""
    layout = _layout(artifact.sha256, learner)
    if not (layout / "complete").exists():
        return False
    try:
        return all(_is_whole(_blob(b.digest, learner), b) for b in _blobs(layout, learner))
    except (OSError, ValueError, LookupError):
        return False


def index(root: Path, lock: Lock, learner: Learner) -> None:
    """Link the images' blobs into one layout and write its index."""
    images = lock.of("oci")
    if not images:
        return
    entries = []
    for image in images:
        cached = _layout(image.sha256, learner)
        entry = dict(_read_json(cached / "index.json")["manifests"][0])
        entry["annotations"] = {_NAME: image.path}
        entries.append(entry)
        for blob in _blobs(cached, learner):
            destination = root / LAYOUT / "blobs" / "sha256" / blob.digest
            if not destination.exists():
                link(_blob(blob.digest, learner), destination)
    manifest = {"schemaVersion": 2, "manifests": entries}
    write_file(root / LAYOUT / "index.json", json.dumps(manifest, sort_keys=True) + "\n")
    write_file(root / LAYOUT / "oci-layout", '{"imageLayoutVersion":"1.0.0"}\n')


def digests(root: Path) -> dict[str, str]:
    """Digest of each image of a bundle, by its name."""
    file = root / LAYOUT / "index.json"
    if not file.exists():
        return {}
    entries = _read_json(file)["manifests"]
    return {entry["annotations"][_NAME]: entry["digest"] for entry in entries}


def _artifact(image: ImageWanted, sources: Sources, learner: Learner) -> Artifact:
    source = image.name
    if not image.host and sources.images:
        source = f"{sources.images.registry}/{image.name}"
    manifest, digest = _manifest(source, sources, learner)
    repository, _, tag = source.rpartition(":")
    exact = f"{repository}@sha256:{digest}"
    config = json.loads(_inspect(exact, sources, learner, "--config", "--raw"))
    labels = (config.get("config") or {}).get("Labels") or {}
    blobs = [manifest["config"], *manifest["layers"]]
    return Artifact(
        ecosystem="oci",
        name=image.name.rpartition(":")[0],
        version=tag,
        path=image.node_name,
        url=f"{_DOCKER_URL}{exact}",
        sha256=digest,
        size=sum(blob["size"] for blob in blobs),
        license=labels.get(_LICENSES, ""),
        released=_day(config.get("created") or ""),
    )


def _day(created: str) -> str:
    """Day of an image's making; one of a fixed clock in the past (1970, 1980) says nothing."""
    day = created[:10]
    return day if day > "1980-01-01" else ""


def _manifest(source: str, sources: Sources, learner: Learner) -> tuple[dict[str, Any], str]:
    """The manifest for linux/amd64 behind a name, with its digest."""
    text = _inspect(source, sources, learner, "--raw")
    manifest: dict[str, Any] = json.loads(text)
    if "manifests" not in manifest:
        return manifest, hashlib.sha256(text.encode()).hexdigest()
    for entry in manifest["manifests"]:
        platform = entry.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            repository = source.rpartition(":")[0]
            return _manifest(f"{repository}@{entry['digest']}", sources, learner)
    raise SourceError(f"{_DOCKER_URL}{source}: has no image for linux/amd64", "name another image")


def _inspect(source: str, sources: Sources, learner: Learner, *what: str) -> str:
    reference = f"{_DOCKER_URL}{source}"
    with _registry(source, sources, learner) as (reach, env):
        command = ["skopeo", "inspect", *what, *reach, reference]
        done = run(command, package="skopeo", check=False, env=env)
    if done.returncode:
        raise SourceError(
            f"{reference}: {tail(done, 3)}", "check the image's name and sources.images"
        )
    return done.stdout


@contextmanager
def _registry(
    source: str, sources: Sources, learner: Learner, side: str = ""
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """skopeo's options and environment for the registry of `source`.

    Certificates and credentials are in files that are gone afterwards: what stands on a command
    line, every user can read. Formats: containers-certs.d(5), containers-auth.json(5).

    Args:
        source: name of an image, with its registry.
        sources: tells whether the registry has no certificate.
        learner: knows the way to the registry.
        side: prefix of the options (`src-` for a copy).
    """
    host = source.partition("/")[0]
    way = learner.access.way(f"https://{host}/")
    options = []
    if sources.images and sources.images.insecure and sources.images.registry == host:
        options.append(f"--{side}tls-verify=false")
    with scratch() as folder:
        certificates = {
            "ca.crt": way.ca,
            "client.cert": way.client_cert,
            "client.key": way.client_key or way.client_cert,
        }
        for name, file in certificates.items():
            if file:
                (folder / name).symlink_to(file)
                options.append(f"--{side}cert-dir={folder}")
        if way.username:
            login = base64.b64encode(f"{way.username}:{way.password}".encode()).decode()
            auths = {"auths": {host: {"auth": login}}}
            write_file(folder / "auth.json", json.dumps(auths), mode=0o600)
            options.append(f"--{side}authfile={folder / 'auth.json'}")
        yield list(dict.fromkeys(options)), _proxy(way.proxy)


def _proxy(proxy: str | None) -> dict[str, str]:
    """Variables for a proxy of its own, for none, or no change; both spellings are in use."""
    if proxy is None:
        return {}
    names = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": ""}
    return {**names, **{name.upper(): value for name, value in names.items()}}


def _blobs(layout: Path, learner: Learner) -> list[_Blob]:
    """All that an image's manifest leads to, itself included."""
    own = _Blob.of(_read_json(layout / "index.json")["manifests"][0])
    manifest = _read_json(_blob(own.digest, learner))
    return [own, *(_Blob.of(part) for part in (manifest["config"], *manifest["layers"]))]


def _is_whole(file: Path, blob: _Blob) -> bool:
    """Whether a blob is what its name says; a sealed one is not read again."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return False
    if state.st_size == blob.size:
        if state.st_mtime == SEAL:
            return True
        if sha256_of(file) == blob.digest:
            os.utime(file, (SEAL, SEAL))
            return True
    file.unlink()
    return False


def _seal(file: Path) -> None:
    """Have the disk hold a file that skopeo wrote, whose hash it has checked."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.utime(descriptor, (SEAL, SEAL))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _layout(digest: str, learner: Learner) -> Path:
    return learner.folder(f"images/layouts/{digest}")


def _blob(digest: str, learner: Learner) -> Path:
    return learner.folder("images/blobs") / "sha256" / digest


def _read_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
