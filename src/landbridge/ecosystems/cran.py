"""R packages: the closure over CRAN's index, carried as `src/contrib` with its `Archive`."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from landbridge.bundle.transport import Missing
from landbridge.ecosystems import Learner, _cran_choice, _cran_package, _r_system
from landbridge.ecosystems._cran_choice import Choice, Fields
from landbridge.ecosystems._cran_index import (
    BASE,
    Need,
    all_needs,
    parse_packages,
    version_key,
    write_archive,
    write_index,
)
from landbridge.errors import InputError, SourceError
from landbridge.files import sha256_of
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.stack import Stack, split_pin

CONTRIB = "cran/src/contrib"
ARCHIVE = f"{CONTRIB}/Archive"
# For whom a package is carried: the site library, or the renv.lock of a project.
SITE = "site"
PROJECTS = "projects"


class Exact(NamedTuple):
    """One of the versions of a package."""

    name: str
    version: str


def resolve(stack: Stack, learner: Learner, kept: Kept | None = None) -> Part:
    """Follow Depends, Imports and LinkingTo from the wanted packages to the end."""
    if not (stack.r.packages or stack.r.projects) or stack.sources.cran is None:
        return Part([])
    source = _Source(stack.sources.cran.url.rstrip("/"), learner, kept)
    site = _site(stack, source)
    carried = _Carried()
    carried.add(SITE, site)
    for project in stack.r.projects:
        carried.add(PROJECTS, _project(project.file, project.pins, site, source))
    contrib = carried.in_contrib()

    def artifact(exact: Exact) -> Artifact:
        found = source.artifact(carried.packages[exact])
        fields = source.description(found)
        return found.model_copy(
            update={
                "path": _path(exact, archived=contrib[exact.name] != exact.version),
                "targets": sorted(carried.targets[exact]),
                "required_by": sorted(carried.needed_by[exact]),
                "released": found.released or _day(fields),
                "record": _record(fields, stack),
            }
        )

    with ThreadPoolExecutor() as pool:
        return Part(list(pool.map(artifact, sorted(carried.packages))))


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write PACKAGES, PACKAGES.gz and PACKAGES.rds from the source's own stanzas, and the Archive's
    list, which is there even if it is empty: clients ask for it.
    """
    artifacts = lock.of("cran")
    if not artifacts:
        return
    archived = [a for a in artifacts if a.path.startswith(f"{ARCHIVE}/")]
    current = [a for a in artifacts if a not in archived]
    write_index(root / CONTRIB, [artifact.index_entry for artifact in current])
    files = {a.path.removeprefix(f"{ARCHIVE}/"): (a.size, a.released) for a in archived}
    write_archive(root / CONTRIB, files)


def alternatives(artifact: Artifact) -> list[str]:
    """Other URLs of a package: mirrors move what is superseded to the Archive.

    Args:
        artifact: of this ecosystem.
    """
    base, _, rest = artifact.url.partition("/src/contrib/")
    file = rest.rsplit("/", 1)[-1]
    contrib = f"{base}/src/contrib"
    return [f"{contrib}/Archive/{artifact.name}/{file}", f"{contrib}/{file}"]


def needs(artifact: Artifact) -> list[Need]:
    """What a package needs to be built and loaded: R, R's own packages, and others.

    Args:
        artifact: of this ecosystem.
    """
    return all_needs(_fields(artifact))


def system_requirements(part: Part) -> dict[str, dict[str, list[str]]]:
    """The RPMs that R packages need on nodes or to be compiled.

    Args:
        part: what `resolve` found.

    Returns:
        For each target the RPMs, each with the names of the R packages that need it.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for artifact in part.artifacts:
        for side in ("run", "build"):
            for target, names in artifact.record[side].items():
                for name in names:
                    found[target][name].add(artifact.name)
    return {
        target: {name: sorted(packages) for name, packages in names.items()}
        for target, names in found.items()
    }


class _Carried:
    """The versions to carry, of the site library and of all projects."""

    def __init__(self) -> None:
        self.packages: dict[Exact, Fields] = {}
        self.targets: dict[Exact, set[str]] = defaultdict(set)
        self.needed_by: dict[Exact, set[str]] = defaultdict(set)

    def add(self, target: str, choice: Choice) -> None:
        """Take a library in; of what the site has, only the site's own packages count as needy."""
        for name, needed_by in choice.needed_by.items():
            fields = choice.packages[name]
            exact = Exact(name, fields["Version"])
            self.packages.setdefault(exact, fields)
            self.targets[exact].add(target)
            if target == SITE or SITE not in self.targets[exact]:
                self.needed_by[exact] |= needed_by

    def in_contrib(self) -> dict[str, str]:
        """By name the version that stands in src/contrib: the site's, else the newest."""
        found: dict[str, str] = {}
        for name, version in sorted(self.packages, key=self._rank):
            found[name] = version
        return found

    def _rank(self, exact: Exact) -> tuple[bool, list[int]]:
        return SITE in self.targets[exact], version_key(exact.version)


class _Source:
    """A CRAN mirror, and an older lock of it."""

    def __init__(self, url: str, learner: Learner, kept: Kept | None) -> None:
        self.base = f"{url}/src/contrib"
        self.learner = learner
        self.newest = parse_packages(_read_index(self.base, learner))
        locked = kept.of("cran") if kept else []
        self.locked = {Exact(a.name, a.version): a for a in locked}
        # Of several versions of a package one is in src/contrib: the one to go on from.
        self.staying = {a.name: _fields(a) for a in locked if not a.path.startswith(f"{ARCHIVE}/")}

    def pinned(self, pins: Iterable[str], key: str) -> dict[str, Fields]:
        """What a stack or a project pins, by name; R's own base packages are not carried.

        Args:
            pins: such as `glue ==1.7.0`.
            key: who pins it, for messages.
        """
        wanted = [Exact(*split_pin(pin)) for pin in pins]
        wanted = [exact for exact in wanted if exact.version and exact.name not in BASE]
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda exact: self._pinned(exact, key), wanted))
        return {exact.name: fields for exact, fields in zip(wanted, found, strict=True)}

    def artifact(self, fields: Fields) -> Artifact:
        """The artifact of a version; what is locked is not fetched again."""
        exact = Exact(fields["Package"], fields["Version"])
        old = self.locked.get(exact)
        if old and old.index_entry == fields["stanza"]:
            return old
        url = fields.get("url") or f"{self.base}/{_file_name(exact)}"
        file = self._fetch(fields, url)
        return Artifact(
            ecosystem="cran",
            name=exact.name,
            version=exact.version,
            path=_path(exact),
            url=url,
            sha256=sha256_of(file),
            size=file.stat().st_size,
            license=fields.get("License", ""),
            released=_day(fields),
            index_entry=fields["stanza"],
        )

    def description(self, artifact: Artifact) -> Fields:
        """The DESCRIPTION of an artifact, fetched again if the cache has forgotten it."""
        for url in dict.fromkeys([artifact.url, *alternatives(artifact)]):
            try:
                file = self.learner.learn(url, sha256=artifact.sha256)
            except Missing as error:
                fault = error
                continue
            return _cran_package.description(file, artifact.sha256, artifact.name, self.learner)
        raise fault

    def _pinned(self, exact: Exact, key: str) -> Fields:
        if old := self.locked.get(exact):
            return _fields(old)
        if self.newest.get(exact.name, {}).get("Version") == exact.version:
            return self.newest[exact.name]
        url = f"{self.base}/Archive/{exact.name}/{_file_name(exact)}"
        try:
            # What lies there never changes; asking again costs no transfer.
            file = self.learner.metadata(url)
        except Missing as error:
            there = self.newest.get(exact.name, {}).get("Version", "no version")
            raise InputError(
                f"{key}: {self.base} has no {exact.name} {exact.version}: "
                f"{there} is in its index, and {url} is not there",
                "pin a version that the mirror has, or complete the mirror's Archive",
            ) from error
        fields = _cran_package.description(file, sha256_of(file), exact.name, self.learner)
        if fields["Version"] != exact.version:
            raise SourceError(f"{url}: holds version {fields['Version']}", "sync the mirror")
        return {**fields, "stanza": _cran_package.index_stanza(fields, file), "url": url}

    def _fetch(self, fields: Fields, url: str) -> Path:
        if "url" in fields:
            return self.learner.metadata(url)
        return self.learner.learn(url, fields.get("MD5sum"))


def _site(stack: Stack, source: _Source) -> Choice:
    names = [split_pin(package)[0] for package in stack.r.packages]
    pinned = source.pinned(stack.r.packages, "r.packages")
    return _cran_choice.least_change(names, source.newest, source.staying, pinned, source.base)


def _project(file: str, pins: list[str], site: Choice, source: _Source) -> Choice:
    """What a project forgot to pin is taken as the site library has it, if it has it."""
    pinned = source.pinned(pins, file)
    of_the_site = {name: site.packages[name] for name in site.needed_by}
    others = {**source.newest, **source.staying, **of_the_site}
    return _cran_choice.project(file, pinned, others, source.base)


def _record(fields: Fields, stack: Stack) -> dict[str, Any]:
    """What the build and the nodes want to know; targets without RPMs are left out."""
    name, compiles = fields["Package"], fields["NeedsCompilation"].lower() == "yes"
    text = fields.get("SystemRequirements", "")
    known = _r_system.rpms(name, text, stack.targets, stack.r.system_requirements)
    return {
        "compiles": compiles,
        "run": {target: rpms.run for target, rpms in known.items() if rpms.run},
        "build": {target: rpms.build for target, rpms in known.items() if rpms.build},
    }


def _file_name(exact: Exact) -> str:
    return f"{exact.name}_{exact.version}.tar.gz"


def _path(exact: Exact, *, archived: bool = False) -> str:
    folder = f"{ARCHIVE}/{exact.name}" if archived else CONTRIB
    return f"{folder}/{_file_name(exact)}"


def _fields(artifact: Artifact) -> Fields:
    """What a lock's artifact says of itself."""
    return parse_packages(artifact.index_entry)[artifact.name]


def _day(fields: Mapping[str, str]) -> str:
    """The day of publication, in an index or a package's own DESCRIPTION."""
    for key in ("Published", "Date/Publication", "Packaged"):
        if match := re.match(r"\d{4}-\d{2}-\d{2}", fields.get(key, "")):
            return match[0]
    return ""


def _read_index(base: str, learner: Learner) -> str:
    """PACKAGES.gz, which every mirror has; PACKAGES where a plain folder lacks it."""
    try:
        return gzip.decompress(learner.metadata(f"{base}/PACKAGES.gz").read_bytes()).decode()
    except Missing:
        return learner.metadata(f"{base}/PACKAGES").read_text(encoding="utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SourceError(f"{base}/PACKAGES.gz: {error}", "sync the mirror") from error
