"""What a build would do: told from the lock and the cache alone, nothing fetched or written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from landbridge.bundle import r_conda, r_work
from landbridge.bundle.build import Options, space_to_assemble
from landbridge.bundle.content import IMAGE_FACTOR, R_FACTOR
from landbridge.bundle.fetch import BUILT, Cache
from landbridge.bundle.r_packages import is_of_site
from landbridge.ecosystems import oci
from landbridge.files import free_space, same_filesystem
from landbridge.lock import Artifact, Lock
from landbridge.lock_file import enforce_policy, fitting_lock
from landbridge.stack import load_stack

# Packed packages only tell their size when they are here: what is usual, rounded up.
_TOOLKIT_FACTOR = 5
# A compiled R package, packed, beside its source.
_COMPILED_FACTOR = 2


@dataclass(frozen=True)
class Share:
    """One ecosystem's share of a bundle.

    Attributes:
        files: artifacts; an image is one.
        bytes: of all of them.
        fetch_files: artifacts that are not in the cache yet.
        fetch_bytes: of these.
        hosts: where these come from, as scheme://host[:port].
        made: files that the build makes here, not yet in the cache.
    """

    files: int
    bytes: int
    fetch_files: int
    fetch_bytes: int
    hosts: list[str]
    made: list[str]


@dataclass(frozen=True)
class Space:
    """What a folder must hold beside what it holds already, in bytes."""

    folder: str
    needed: int
    free: int


@dataclass(frozen=True)
class Compiling:
    """R packages that a build compiles for one R of one target.

    Attributes:
        target: kind of node.
        r_version: R's version.
        packages: name and version of each.
        cached: number of those that are compiled already.
        left_out: those that cannot be compiled for it, with the reason.
        root_bytes: for the root to compile in; 0 where it is there or nothing is to be compiled.
        result_bytes: of what will be compiled, estimated.
    """

    target: str
    r_version: str
    packages: list[str]
    cached: int
    left_out: dict[str, str]
    root_bytes: int
    result_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a build would do.

    Attributes:
        stack: name of the stack.
        ecosystems: each ecosystem's share, by its name.
        r_binaries: what is compiled; empty without --r-binaries.
        cache: space for what is fetched.
        output: space for the bundle; little where it is hard links to the cache.
        enough: whether both have what they need, also where they share a filesystem.
        release_bytes: what is carried to the receiver, and what a depot takes.
        installed_bytes: what a node installs of it, estimated, by kind as in content.json.
    """

    stack: str
    ecosystems: dict[str, Share]
    r_binaries: list[Compiling]
    cache: Space
    output: Space
    enough: bool
    release_bytes: int
    installed_bytes: dict[str, int | dict[str, int]]

    @property
    def fetch_bytes(self) -> int:
        """Bytes that have to be fetched in all."""
        return sum(share.fetch_bytes for share in self.ecosystems.values())


class _Looked(Cache):
    """The cache as it stands: no folder is made, nothing is read again or mended."""

    def folder(self, name: str) -> Path:
        return self.root / name

    def has(self, sha256: str, size: int | None = None) -> bool:
        path = self.path(sha256)
        return path.is_file() and size in (None, path.stat().st_size)


def plan(options: Options) -> Plan:
    """Tell what a build of these options would do; touches no network and writes nothing.

    Raises:
        InputError: the stack is wrong, or there is no lock that fits it.
        PolicyError: the policy forbids what is locked.
    """
    stack = load_stack(options.stack_file, options.sources, complete=False)
    lock = fitting_lock(options, stack)
    enforce_policy(options, lock)
    store = _Looked(options.cache)
    missing = _missing(lock, store)
    works = r_work.work_of(lock, store) if options.r_binaries else []
    compiling = [_compiling(work, store) for work in works]
    compiled = sum(one.root_bytes + one.result_bytes for one in compiling)
    results = sum(result.size for work in works for result in work.results.values())
    results += sum(one.result_bytes for one in compiling)
    names = dict.fromkeys(artifact.ecosystem for artifact in lock.artifacts)
    shares = {str(name): _share(lock.of(name), missing) for name in names}
    cache = _space(options.cache, sum(a.size for a in missing.values()) + compiled)
    output = _space(options.output, space_to_assemble(lock, options.cache, options.output))
    return Plan(
        stack=lock.stack,
        ecosystems=shares,
        r_binaries=compiling,
        cache=cache,
        output=output,
        enough=_enough(options, cache, output),
        release_bytes=space_to_assemble(lock, None, options.output) + results,
        installed_bytes=_installed(lock),
    )


def _missing(lock: Lock, store: Cache) -> dict[tuple[str, str], Artifact]:
    files = [artifact for artifact in lock.artifacts if artifact.ecosystem != "oci"]
    found = store.missing(files)
    found += [image for image in lock.of("oci") if not oci.has(image, store)]
    return {(artifact.ecosystem, artifact.path): artifact for artifact in found}


def _share(artifacts: list[Artifact], missing: dict[tuple[str, str], Artifact]) -> Share:
    absent = [a for a in artifacts if (a.ecosystem, a.path) in missing]
    fetched = [a for a in absent if not a.url.startswith(BUILT)]
    return Share(
        files=len(artifacts),
        bytes=sum(artifact.size for artifact in artifacts),
        fetch_files=len(fetched),
        fetch_bytes=sum(artifact.size for artifact in fetched),
        hosts=_hosts(artifact.url for artifact in fetched),
        made=[artifact.file for artifact in absent if artifact.url.startswith(BUILT)],
    )


def _compiling(work: r_work.Work, store: Cache) -> Compiling:
    missing = [work.packages[name] for name in work.missing]
    return Compiling(
        target=work.r.target,
        r_version=work.r.version,
        packages=[package.title for package in missing],
        cached=len(work.results),
        left_out=dict(work.left_out),
        root_bytes=work.root_bytes(r_work.roots(store)) if missing else 0,
        result_bytes=_COMPILED_FACTOR * _bytes(package.artifact for package in missing),
    )


def _hosts(urls: Iterable[str]) -> list[str]:
    parts = map(urlsplit, urls)
    # What stands before an @ is nobody's business.
    return sorted({f"{url.scheme}://{url.netloc.rpartition('@')[2]}" for url in parts})


def _space(folder: Path, needed: int) -> Space:
    return Space(str(folder), needed, free_space(folder))


def _enough(options: Options, cache: Space, output: Space) -> bool:
    if same_filesystem(options.cache, options.output):
        return cache.needed + output.needed <= cache.free
    return cache.needed <= cache.free and output.needed <= output.free


def _installed(lock: Lock) -> dict[str, int | dict[str, int]]:
    rpms, toolkit = lock.of("rpm"), lock.of("toolkit")
    pythons = {python for artifact in toolkit for python in artifact.targets}
    sets = [_bytes(a for a in toolkit if python in a.targets) for python in pythons]
    unpacked = max(sets, default=0) + _bytes(lock.of("collection"))
    return {
        "conda": r_conda.UNPACKED_FACTOR * _bytes(lock.of("conda")),
        "toolkit": _TOOLKIT_FACTOR * unpacked,
        "rpm": {t: sum(a.installed_size for a in rpms if t in a.targets) for t in lock.targets},
        "r": R_FACTOR * _bytes(a for a in lock.of("cran") if is_of_site(a)),
        "images": IMAGE_FACTOR * _bytes(lock.of("oci")),
    }


def _bytes(artifacts: Iterable[Artifact]) -> int:
    return sum(artifact.size for artifact in artifacts)
