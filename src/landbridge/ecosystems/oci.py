"""Images: their digest fixed at lock time, carried as one OCI layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from landbridge.ecosystems import Learner
from landbridge.errors import SourceError
from landbridge.files import link, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run, tail
from landbridge.stack import ImageWanted, Stack

LAYOUT = "images"
_NAME = "org.opencontainers.image.ref.name"
_DOCKER = "application/vnd.docker."


def resolve(stack: Stack, learner: Learner, _kept: Kept | None = None) -> Part:
    """Fix each image's digest, and copy its blobs into the cache.

    skopeo does the fetching of images, so it happens here and not in the common fetch.
    """
    images = sorted(stack.images, key=lambda image: image.name)
    return Part([_artifact(image, stack, learner) for image in images])


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
        for digest in _blobs(entry["digest"], learner):
            destination = root / LAYOUT / "blobs" / "sha256" / digest
            if not destination.exists():
                link(_blob(digest, learner), destination)
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


def _artifact(image: ImageWanted, stack: Stack, learner: Learner) -> Artifact:
    source = image.name
    tls: list[str] = []
    if not image.host and stack.sources.images:
        source = f"{stack.sources.images.registry}/{image.name}"
        tls = ["--tls-verify=false"] if stack.sources.images.insecure else []
    manifest, digest = _manifest(source, tls)
    repository, _, tag = source.rpartition(":")
    _copy(f"{repository}@sha256:{digest}", manifest, digest, tls, learner)
    blobs = [manifest["config"], *manifest["layers"]]
    return Artifact(
        ecosystem="oci",
        name=image.name.rpartition(":")[0],
        version=tag,
        path=image.node_name,
        url=f"docker://{repository}@sha256:{digest}",
        sha256=digest,
        size=sum(blob["size"] for blob in blobs),
    )


def _manifest(source: str, tls: list[str]) -> tuple[dict[str, Any], str]:
    """The manifest for linux/amd64 behind a name, with its digest."""
    reference = f"docker://{source}"
    done = run(["skopeo", "inspect", "--raw", *tls, reference], package="skopeo", check=False)
    if done.returncode:
        raise SourceError(
            f"{reference}: {tail(done, 3)}", "check the image's name and sources.images"
        )
    manifest: dict[str, Any] = json.loads(done.stdout)
    if "manifests" not in manifest:
        return manifest, hashlib.sha256(done.stdout.encode()).hexdigest()
    for entry in manifest["manifests"]:
        platform = entry.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            repository = source.rpartition(":")[0]
            return _manifest(f"{repository}@{entry['digest']}", tls)
    raise SourceError(f"{reference}: has no image for linux/amd64", "name another image")


def _copy(
    source: str, manifest: dict[str, Any], digest: str, tls: list[str], learner: Learner
) -> None:
    """Bring an image into the cache: a layout of its own, blobs shared by all."""
    layout = _layout(digest, learner)
    if (layout / "complete").exists():
        return
    # An OCI layout cannot hold Docker's own manifests: those are converted, layers untouched.
    docker = str(manifest.get("mediaType", "")).startswith(_DOCKER)
    keep = [] if docker else ["--preserve-digests"]
    options = [*keep, f"--src-{tls[0].removeprefix('--')}"] if tls else keep
    shared = f"--dest-shared-blob-dir={learner.folder('images/blobs')}"
    command = ["skopeo", "copy", "--quiet", *options, shared]
    done = run([*command, f"docker://{source}", f"oci:{layout}"], package="skopeo", check=False)
    if done.returncode:
        raise SourceError(f"docker://{source}: {tail(done, 3)}", "check the registry")
    write_file(layout / "complete", "")


def _blobs(digest: str, learner: Learner) -> list[str]:
    """Digests (without `sha256:`) of all that an image's manifest leads to, itself included."""
    own = digest.removeprefix("sha256:")
    manifest = _read_json(_blob(own, learner))
    parts = [manifest["config"], *manifest["layers"]]
    return [own, *(part["digest"].removeprefix("sha256:") for part in parts)]


def _layout(digest: str, learner: Learner) -> Path:
    return learner.folder(f"images/layouts/{digest}")


def _blob(digest: str, learner: Learner) -> Path:
    return learner.folder("images/blobs") / "sha256" / digest


def _read_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
