"""`sbom.cdx.json`: what a bundle carries, as CycloneDX 1.6, for auditors and their scanners."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from landbridge.bundle.manifest import Entry

# cyclonedx is not installed on nodes, which only read: it is imported where it writes. Nor does
# reading need the models of locks.
if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License
    from packageurl import PackageURL

    from landbridge.bundle.r_binaries import Binary
    from landbridge.lock import Artifact, Lock

NAME = "sbom.cdx.json"

_PATH = "landbridge:path"
_ECOSYSTEM = "landbridge:ecosystem"
_COMPILED_FROM = "landbridge:compiled-from"
_COMPILED_FOR = "landbridge:compiled-for"
_SHA256 = "SHA-256"
_IMAGES = "images/index.json"
# What `faults` reads.
READ = (NAME, _IMAGES)
_IMAGE_NAME = "org.opencontainers.image.ref.name"
# Every file that stands for one artifact, by the bundle's layout.
_FILE = re.compile(
    r"rpm/[^/]+/Packages/.+\.rpm"
    r"|conda/[^/]+/[^/]+(\.conda|\.tar\.bz2)"
    r"|pypi/simple/[^/]+/[^/]+(\.whl|\.tar\.gz|\.zip)"
    r"|cran/src/contrib/(Archive/[^/]+/)?[^/]+\.tar\.gz"
    r"|cran/binaries/[^/]+/[^/]+/src/contrib/[^/]+\.tar\.gz"
    r"|toolkit/wheels/.+\.whl"
    r"|collections/.+\.tar\.gz"
)


def document(lock: Lock, binaries: Sequence[Binary] = ()) -> str:
    """The JSON text; equal locks give equal bytes, so it names no time of its making.

    Every artifact but the RPMs' public keys is one component. An artifact that several environments
    or targets share depends on whatever any of them needs.

    Args:
        lock: what is in the bundle.
        binaries: R packages that were compiled for it, each a component that depends on its source.
    """
    from cyclonedx.model.bom import Bom  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415
    from cyclonedx.schema.schema import SchemaVersion1Dot6  # noqa: PLC0415

    told = lock.dump() + "".join(f"{binary.sha256}  {binary.path}\n" for binary in binaries)
    digest = hashlib.sha256(told.encode()).hexdigest()
    artifacts = sorted((a for a in lock.artifacts if a.ecosystem != "rpm-key"), key=_path)
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"landbridge:lock:{digest}"))
    bom.metadata.component = Component(
        name=lock.stack, version=digest[:12], type=ComponentType.APPLICATION, bom_ref=lock.stack
    )
    data = json.loads(JsonV1Dot6(bom).output_as_string())
    del data["metadata"]["timestamp"]
    # Put into the Bom itself, a thousand components take it seconds to sort and cross-check.
    components = [*map(_component, artifacts), *map(_compiled, binaries)]
    texts = (one.as_json(SchemaVersion1Dot6) for one in components)  # type: ignore[attr-defined]
    data["components"] = [json.loads(text) for text in texts]
    data["dependencies"] = [
        *_dependencies(lock.stack, artifacts),
        *({"ref": b.path, "dependsOn": [b.source.artifact.path]} for b in binaries),
    ]
    return json.dumps(data, indent=1) + "\n"


def faults(root: Path, entries: Mapping[str, Entry]) -> list[str]:
    """What the SBOM of a bundle says otherwise than its manifest, one line for each.

    Args:
        root: the bundle; its SBOM and `images/index.json` are read.
        entries: what the manifest promises.
    """
    try:
        components = json.loads((root / NAME).read_bytes())["components"]
        listed = {_properties(c)[_PATH]: c for c in components}
        images = {path for path, c in listed.items() if _properties(c)[_ECOSYSTEM] == "oci"}
        hashes = {path: _sha256(c) for path, c in listed.items() if path not in images}
        carried = _images(root) if _IMAGES in entries else set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"cannot be compared with the bundle: {error!r}"]
    files = {path for path in entries if _FILE.fullmatch(path)}
    return [
        *(f"lists {path}, which is not there" for path in sorted(hashes.keys() - entries.keys())),
        *(
            f"{path}: sha256 {hashes[path]} instead of {entries[path].sha256}"
            for path in sorted(hashes.keys() & entries.keys())
            if hashes[path] != entries[path].sha256
        ),
        *(f"does not list {path}" for path in sorted(files - hashes.keys())),
        *(f"lists image {name}, which is not there" for name in sorted(images - carried)),
        *(f"does not list image {name}" for name in sorted(carried - images)),
    ]


def _path(artifact: Artifact) -> str:
    return artifact.path


def _component(artifact: Artifact) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    image = artifact.ecosystem == "oci"
    # An image is many files; the digest of its manifest is in the purl.
    sha256 = HashType(alg=HashAlgorithm.SHA_256, content=artifact.sha256)
    return Component(
        type=ComponentType.CONTAINER if image else ComponentType.LIBRARY,
        name=artifact.name,
        version=_version(artifact),
        bom_ref=artifact.path,
        purl=_PURLS[artifact.ecosystem](artifact),
        hashes=[] if image else [sha256],
        licenses=[_license(artifact.license)] if artifact.license else [],
        properties=[
            Property(name=_ECOSYSTEM, value=artifact.ecosystem),
            Property(name=_PATH, value=artifact.path),
        ],
    )


def _compiled(binary: Binary) -> Component:
    """An R package as it was compiled here: another file of the same package."""
    from cyclonedx.model import HashAlgorithm, HashType, Property  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    artifact = binary.source.artifact
    return Component(
        type=ComponentType.LIBRARY,
        name=artifact.name,
        version=artifact.version,
        bom_ref=binary.path,
        purl=_PURLS["cran"](artifact),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=binary.sha256)],
        licenses=[_license(artifact.license)] if artifact.license else [],
        properties=[
            Property(name=_ECOSYSTEM, value="cran"),
            Property(name=_PATH, value=binary.path),
            Property(name=_COMPILED_FROM, value=artifact.path),
            Property(name=_COMPILED_FOR, value=f"{binary.target}, R {binary.r_version}"),
        ],
    )


@cache
def _license(stated: str) -> License:
    """An SPDX identifier or expression where it is one, else the name as it is."""
    from cyclonedx.contrib.license.factories import LicenseFactory  # noqa: PLC0415

    return LicenseFactory().make_from_string(stated)


def _dependencies(stack: str, artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """The lock's `required_by` the other way round; the stack needs what nothing else does."""
    from landbridge.lock import requirer  # noqa: PLC0415

    by_name: dict[tuple[str, str], list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        by_name[artifact.ecosystem, artifact.name].append(artifact)
    needs: dict[str, set[str]] = {ref: set() for ref in (stack, *(a.path for a in artifacts))}
    for needed in artifacts:
        for name in needed.required_by:
            for one in by_name[requirer(needed.ecosystem, name)]:
                if one.ecosystem != needed.ecosystem or _together(one, needed):
                    needs[one.path].add(needed.path)
        if not needed.required_by:
            needs[stack].add(needed.path)
    return [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)]


def _together(one: Artifact, two: Artifact) -> bool:
    """Whether some target, subdir or Python has both."""
    anywhere = not one.targets or not two.targets or "noarch" in (*one.targets, *two.targets)
    return anywhere or not set(one.targets).isdisjoint(two.targets)


def _version(artifact: Artifact) -> str:
    """The version as the ecosystem's people write it."""
    if artifact.ecosystem != "rpm":
        return artifact.version
    epoch, _, version = artifact.version.rpartition(":")
    release, _, _ = artifact.build.rpartition(".")
    return f"{epoch}:{version}-{release}" if epoch not in ("", "0") else f"{version}-{release}"


def _rpm(artifact: Artifact) -> PackageURL:
    from packageurl import PackageURL  # noqa: PLC0415

    epoch, _, version = _version(artifact).rpartition(":")
    _, _, arch = artifact.build.rpartition(".")
    distro = artifact.targets[0].partition("-")[0]
    qualifiers = {"arch": arch, "distro": distro, "epoch": epoch}
    return PackageURL("rpm", None, artifact.name, version, qualifiers)


def _conda(artifact: Artifact) -> PackageURL:
    from packageurl import PackageURL  # noqa: PLC0415

    channel, subdir, _ = artifact.url.rsplit("/", 2)
    qualifiers = {
        "build": artifact.build,
        "channel": channel.rpartition("/")[2],
        "subdir": subdir,
        "type": "conda" if artifact.file.endswith(".conda") else "tar.bz2",
    }
    return PackageURL("conda", None, artifact.name, artifact.version, qualifiers)


def _oci(artifact: Artifact) -> PackageURL:
    from packageurl import PackageURL  # noqa: PLC0415

    repository = artifact.url.removeprefix("docker://").partition("@")[0]
    qualifiers = {"repository_url": repository, "tag": artifact.version}
    name = artifact.name.rpartition("/")[2]
    return PackageURL("oci", None, name, f"sha256:{artifact.sha256}", qualifiers)


def _plain(kind: str) -> Callable[[Artifact], PackageURL]:
    """A purl of name and version only."""

    def purl(artifact: Artifact) -> PackageURL:
        from packageurl import PackageURL  # noqa: PLC0415

        return PackageURL(kind, None, artifact.name, artifact.version)

    return purl


# By https://github.com/package-url/purl-spec; a collection of Ansible's has no type of its own.
_PURLS: dict[str, Callable[[Artifact], PackageURL]] = {
    "rpm": _rpm,
    "conda": _conda,
    "pypi": _plain("pypi"),
    "cran": _plain("cran"),
    "oci": _oci,
    "toolkit": _plain("pypi"),
    "collection": _plain("generic"),
}


def _properties(component: Mapping[str, Any]) -> dict[str, str]:
    return {p["name"]: p["value"] for p in component["properties"]}


def _sha256(component: Mapping[str, Any]) -> str:
    return next((str(h["content"]) for h in component.get("hashes", ()) if h["alg"] == _SHA256), "")


def _images(root: Path) -> set[str]:
    """Names of the images that the bundle's OCI layout carries."""
    index = json.loads((root / _IMAGES).read_bytes())
    return {str(image["annotations"][_IMAGE_NAME]) for image in index["manifests"]}
