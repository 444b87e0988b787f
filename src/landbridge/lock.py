"""The exact: every artifact of a bundle, with its source and its hash, as typed YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from landbridge.errors import BundleError
from landbridge.stack import Name

Ecosystem = Literal["rpm", "rpm-key", "conda", "pypi", "cran", "oci", "toolkit", "collection"]


# libyaml is ten times as fast; PyYAML's wheels have it, a build from source may not.
_SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(_SafeDumper):  # type: ignore[misc,valid-type]
    """Writes texts of several lines as such, and no aliases: it is read by people."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _inside(path: str) -> str:
    """A lock is input: what it names must lie in the bundle, wherever the lock came from."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise ValueError("leads out of the bundle")
    return path


Inside = Annotated[str, AfterValidator(_inside)]


class Artifact(BaseModel):
    """One file of the bundle (for `oci`: one image).

    Attributes:
        ecosystem: which kind of repository carries it.
        name: the ecosystem's own name.
        version: version, for an RPM `epoch:version` without the release.
        build: release of an RPM, build string of a conda package, `build` of a wheel that only
            building an sdist needs, else empty.
        targets: for whom: targets (rpm), subdirs (conda), Python versions (pypi, toolkit), site
            library or projects (cran).
        path: where it stands in the bundle, relative; for `oci` the image's name on nodes.
        url: where it comes from; `built:` marks what `bundle build` itself makes.
        sha256: hex digest of the file; for `oci` the digest of the manifest at the source.
        size: bytes to fetch.
        installed_size: bytes on a node, 0 where only the file itself tells.
        license: as the source states it (SPDX or the ecosystem's own words); empty if unknown.
        released: day of its release as the source tells it, `YYYY-MM-DD`; empty if unknown.
        required_by: names of the artifacts that need it, those of another ecosystem as
            `cran:xml2`; empty for what the stack asks for.
        index_entry: what the source's own index says of it, kept verbatim for ours (CRAN).
        record: the same where the index holds mappings (conda); of an R package whether it
            `compiles`, and the RPMs that it needs to `run` and to `build`, by target.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ecosystem: Ecosystem
    name: str
    version: str
    build: str = ""
    targets: list[str] = []
    path: Inside
    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    installed_size: int = Field(default=0, ge=0)
    license: str = ""
    released: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    required_by: list[str] = []
    index_entry: str = ""
    record: dict[str, Any] = {}

    @property
    def file(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]


class Part(NamedTuple):
    """What one ecosystem adds to the lock.

    Attributes:
        artifacts: in any order.
        environments: for each conda environment the paths of its packages, relative to
            the channel, in an order in which they can be installed.
        metadata: texts that the sources publish beside their packages, by their place in the
            bundle (`rpm/el9-x86_64/updateinfo.xml`), cut down to the locked packages.
    """

    artifacts: list[Artifact]
    environments: Mapping[str, list[str]] = MappingProxyType({})
    metadata: Mapping[str, str] = MappingProxyType({})


class Kept(NamedTuple):
    """What an older lock says, for a resolver that is to change only what it must.

    Attributes:
        lock: the older lock.
        update: names whose newest version is wanted; all others stay as they are locked
            unless one of these cannot be had otherwise.
    """

    lock: Lock
    update: frozenset[str]

    def of(self, *ecosystems: str) -> list[Artifact]:
        """The locked artifacts that stay if they can."""
        return [a for a in self.lock.of(*ecosystems) if a.name not in self.update]


class Lock(BaseModel):
    """`X.lock`, in a bundle `stack.lock`.

    Attributes:
        format: version of this format.
        stack: name of the stack.
        wanted: what the stack wanted when it was locked (its keys but `name` and `sources`).
        targets: kinds of node that it serves.
        environments: see `Part`.
        metadata: see `Part`.
        artifacts: sorted by ecosystem and path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[2] = 2
    stack: str
    wanted: dict[str, Any] = {}
    targets: list[str]
    environments: dict[Name, list[Inside]] = {}
    metadata: dict[Inside, str] = {}
    artifacts: list[Artifact]

    def of(self, *ecosystems: str) -> list[Artifact]:
        """The artifacts of these ecosystems, in the lock's order."""
        return [artifact for artifact in self.artifacts if artifact.ecosystem in ecosystems]

    def dump(self) -> str:
        """The YAML text; equal locks give equal texts."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        fields = {"format": self.format, **data}
        return yaml.dump(fields, Dumper=_Dumper, sort_keys=False, width=1000)


def merge(
    stack: str,
    targets: Iterable[str],
    parts: Iterable[Part],
    wanted: Mapping[str, Any] = MappingProxyType({}),
) -> Lock:
    """Put the ecosystems' parts together, sorted, one artifact for each path.

    An artifact that several parts name (a wheel for two Python versions) serves the targets
    of all of them.
    """
    by_path: dict[tuple[str, str], Artifact] = {}
    environments: dict[str, list[str]] = {}
    metadata: dict[str, str] = {}
    for part in parts:
        environments.update(part.environments)
        metadata.update(part.metadata)
        for artifact in part.artifacts:
            key = (artifact.ecosystem, artifact.path)
            other = by_path.get(key)
            by_path[key] = artifact if other is None else _union(other, artifact)
    ordered = [by_path[key] for key in sorted(by_path)]
    return Lock(
        stack=stack,
        wanted=dict(wanted),
        targets=list(targets),
        environments=dict(sorted(environments.items())),
        metadata=dict(sorted(metadata.items())),
        artifacts=ordered,
    )


def load_lock(path: Path) -> Lock:
    """Read `stack.lock`.

    Raises:
        BundleError: the file is missing or not a lock of this format.
    """
    try:
        return Lock.model_validate(yaml.load(path.read_bytes(), Loader=_SafeLoader))  # noqa: S506
    except (OSError, ValueError, yaml.YAMLError, ValidationError) as error:
        raise BundleError(
            f"{path}: not a readable lock: {error}", "build the bundle anew"
        ) from error


def requirer(ecosystem: str, name: str) -> tuple[str, str]:
    """Ecosystem and name of one of `required_by`, of an artifact of `ecosystem`."""
    other, colon, rest = name.partition(":")
    return (other, rest) if colon else (ecosystem, name)


def _union(one: Artifact, two: Artifact) -> Artifact:
    return one.model_copy(
        update={
            "targets": sorted({*one.targets, *two.targets}),
            "required_by": sorted({*one.required_by, *two.required_by}),
        }
    )
