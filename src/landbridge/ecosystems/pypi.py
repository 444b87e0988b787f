"""Wheels: resolved by pip for each Python, carried as a simple index with hashes."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from landbridge.ecosystems import Learner, _simple_index
from landbridge.ecosystems._pip import ConflictError, Item, canonical, project, report
from landbridge.errors import SourceError
from landbridge.files import sha256_of, write_file
from landbridge.lock import Artifact, Ecosystem, Kept, Lock, Part
from landbridge.stack import Stack
from landbridge.targets import Platform, lowest

__all__ = ["canonical", "index", "requirements", "resolve", "wheels"]

FOLDER = "pypi"
SIMPLE = f"{FOLDER}/simple"
# In `Artifact.build`: a wheel that nothing but the building of a source needs.
BUILD_ONLY = "build"
# Where a source names no build system (PEP 517); and what older setuptools ask for while building.
_LEGACY = "setuptools"
_BRINGS_WHEEL = Version("70.1")

Ask = Callable[[Mapping[str, str]], list[Item]]


def resolve(stack: Stack, learner: Learner, kept: Kept | None = None) -> Part:
    """The wheels that users may install, for each Python version of the stack."""
    wanted = stack.pypi
    if not wanted.packages:
        return Part([])
    if kept and _is_settled(stack, kept):
        return Part(kept.of("pypi"))
    platform = lowest(stack.targets)
    sdists = frozenset(map(canonical, wanted.allow_sdists))
    found = []
    for python in wanted.python:
        mine = wheels(wanted.packages, python, platform, learner, kept=kept, sdists=sdists)
        found += [*mine, *_builders(mine, python, platform, learner, kept)]
    # What some Python needs to run comes first: it gives an artifact of several its `build`.
    return Part(sorted(found, key=lambda artifact: artifact.build))


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write the simple index and the hashed requirements of each Python."""
    projects: dict[str, list[Artifact]] = {}
    for artifact in lock.of("pypi"):
        projects.setdefault(artifact.name, []).append(artifact)
    if not projects:
        return
    _simple_index.write(root / SIMPLE, projects)
    pythons = {python for artifact in lock.of("pypi") for python in artifact.targets}
    for python in sorted(pythons):
        text = requirements(lock.of("pypi"), python)
        write_file(root / FOLDER / f"requirements-{python}.txt", text)


def requirements(artifacts: Iterable[Artifact], python: str) -> str:
    """pip's requirements file with hashes for one Python.

    A project may be there twice, to be installed and to build a source: the former counts.
    """
    chosen: dict[str, Artifact] = {}
    for artifact in artifacts:
        other = chosen.get(artifact.name)
        if python in artifact.targets and (other is None or _rank(artifact) > _rank(other)):
            chosen[artifact.name] = artifact
    return "".join(
        f"{name}=={artifact.version} --hash=sha256:{artifact.sha256}\n"
        for name, artifact in sorted(chosen.items())
    )


def wheels(
    wanted: Sequence[str | Path],
    python: str,
    platform: Platform,
    learner: Learner,
    *,
    kept: Kept | None = None,
    ecosystem: Ecosystem = "pypi",
    sdists: frozenset[str] = frozenset(),
) -> list[Artifact]:
    """What pip would install for one Python version on one platform.

    Args:
        wanted: requirements, or paths of wheels.
        python: `3.12`, say.
        platform: the oldest node to serve.
        learner: fetches what has no sha256 at its source.
        kept: an older lock, see `lock.Kept`.
        ecosystem: whose artifacts of the older lock are meant.
        sdists: canonical names of projects that may come as their source.

    Raises:
        InputError: nothing fulfils a requirement for this Python.
        SourceError: an index cannot be read.
    """
    ask = partial(_ask, wanted, python, platform, sdists)
    old = _locked(kept, ecosystem, python)
    names = [str(name) for name in wanted]
    items = _least_change(ask, names, old, _asked_for(kept, ecosystem, names))
    return _artifacts(items, python, old, learner)


def _ask(
    wanted: Sequence[str | Path],
    python: str,
    platform: Platform,
    sdists: frozenset[str],
    pins: Mapping[str, str],
) -> list[Item]:
    return report(wanted, python, platform, pins=pins, sdists=sdists)


def _is_settled(stack: Stack, kept: Kept) -> bool:
    """Whether the same is wanted as was, and nothing of it is to be updated."""
    lock = kept.lock
    same = lock.wanted.get("pypi") == stack.pypi.model_dump(mode="json")
    return same and lock.targets == stack.targets and kept.of("pypi") == lock.of("pypi")


def _asked_for(kept: Kept | None, ecosystem: Ecosystem, wanted: Iterable[str]) -> set[str]:
    """The projects to be updated; other ecosystems have packages of the same command."""
    if kept is None:
        return set()
    known = {a.name for a in kept.lock.of(ecosystem)} | {project(need) for need in wanted}
    return known & {canonical(name) for name in kept.update}


def _locked(
    kept: Kept | None, ecosystem: Ecosystem, python: str, build: str = ""
) -> dict[str, Artifact]:
    """The artifacts of one Python in the older lock that stay if they can, by name."""
    if kept is None:
        return {}
    mine = [a for a in kept.of(ecosystem) if python in a.targets and a.build in ("", build)]
    return {artifact.name: artifact for artifact in sorted(mine, key=lambda a: a.build)}


def _least_change(
    ask: Ask, wanted: Sequence[str], old: Mapping[str, Artifact], update: set[str]
) -> list[Item]:
    """Resolve with what is locked pinned, and unpin what contradicts until pip agrees.

    pip would rather take an old version of what is to be updated than contradict a pin. So
    the newest is found without pins, and then pinned itself.
    """
    pins = {name: artifact.version for name, artifact in old.items()}
    if not pins:
        return ask({})
    if not update:
        try:
            return ask(pins)
        except ConflictError:
            pass
    newest = ask({})
    demanded = {item.name: item.version for item in newest if item.name in update}
    moving = {item.name for item in newest if item.name not in pins}
    demands = [*wanted, *(need for item in newest if item.name in moving for need in item.requires)]
    freed = {name for name, version in pins.items() if not _allows(demands, name, version)}
    while freed < pins.keys():
        try:
            return ask({**{n: v for n, v in pins.items() if n not in freed}, **demanded})
        except ConflictError:
            more = _neighbours(moving | freed, newest, old) & pins.keys()
            if more <= freed:
                break
            freed |= more
    return newest


def _allows(demands: Iterable[str], name: str, version: str) -> bool:
    """Whether each demand that concerns `name` takes `version`."""
    for demand in demands:
        if project(demand) == name:
            try:
                specifier = Requirement(demand).specifier
            except InvalidRequirement:  # a path; pip has the last word
                continue
            if not specifier.contains(version, prereleases=True):
                return False
    return True


def _neighbours(names: set[str], newest: Iterable[Item], old: Mapping[str, Artifact]) -> set[str]:
    """Projects that need one of `names` or are needed by one, as far as is known."""
    pairs = {(item.name, project(need)) for item in newest for need in item.requires}
    pairs |= {(by, name) for name, artifact in old.items() for by in artifact.required_by}
    return {a for a, b in pairs if b in names} | {b for a, b in pairs if a in names}


def _builders(
    found: Iterable[Artifact],
    python: str,
    platform: Platform,
    learner: Learner,
    kept: Kept | None,
) -> list[Artifact]:
    """What the sources among `found` are built with: wheels, each source with its own set.

    A version that is carried anyway is taken where it will do.
    """
    carried = {artifact.name: artifact for artifact in found}
    old = {**_locked(kept, "pypi", python, BUILD_ONLY), **carried}
    result = []
    for source in carried.values():
        if source.file.endswith(".whl"):
            continue
        file = learner.learn(source.url, sha256=source.sha256)
        needs = _build_requires(file, source)
        items = _with_wheel(needs, python, platform, old)
        direct = {project(need) for need in needs}
        for artifact in _artifacts(items, python, old, learner):
            by = {*artifact.required_by, *([source.name] if artifact.name in direct else [])}
            changes = {"build": BUILD_ONLY, "required_by": sorted(by)}
            result.append(artifact.model_copy(update=changes))
    return result


def _with_wheel(
    needs: list[str], python: str, platform: Platform, old: Mapping[str, Artifact]
) -> list[Item]:
    """Resolve a build environment; setuptools asked for `wheel` only while it built."""
    items = _least_change(partial(_ask, needs, python, platform, frozenset()), needs, old, set())
    names = {item.name: item.version for item in items}
    asks = _LEGACY in names and Version(names[_LEGACY]) < _BRINGS_WHEEL
    if asks and "wheel" not in names:
        return _with_wheel([*needs, "wheel"], python, platform, old)
    return items


def _build_requires(file: Path, source: Artifact) -> list[str]:
    """`[build-system] requires` of a source's pyproject.toml (PEP 518)."""
    try:
        data = tomllib.loads(_pyproject(file, source.file))
        requires: list[str] = data.get("build-system", {}).get("requires", [_LEGACY])
    except (tarfile.TarError, zipfile.BadZipFile, tomllib.TOMLDecodeError, OSError) as error:
        raise SourceError(f"{source.url}: cannot be read: {error}", "name a wheel") from error
    return requires


def _pyproject(file: Path, name: str) -> str:
    """Text of `<project>-<version>/pyproject.toml` in a source; empty if it has none."""
    pattern = re.compile(r"(\./)?[^/]+/pyproject\.toml")
    if name.endswith(".zip"):
        with zipfile.ZipFile(file) as archive:
            found = next((n for n in archive.namelist() if pattern.fullmatch(n)), None)
            return archive.read(found).decode() if found else ""
    with tarfile.open(file) as tar:
        member = next((m for m in tar if pattern.fullmatch(m.name)), None)
        stream = tar.extractfile(member) if member else None
        return stream.read().decode() if stream else ""


def _artifacts(
    items: Sequence[Item], python: str, old: Mapping[str, Artifact], learner: Learner
) -> list[Artifact]:
    """One artifact for each item; what is locked in the same version stays as it is."""
    needed_by: dict[str, set[str]] = {}
    for item in items:
        for need in item.requires:
            # Markers are not asked: both are in the closure.
            needed_by.setdefault(project(need), set()).add(item.name)

    def artifact(item: Item) -> Artifact:
        locked = old.get(item.name)
        same = locked if locked and locked.version == item.version else _artifact(item, learner)
        by = sorted(needed_by.get(item.name, ()))
        return same.model_copy(update={"targets": [python], "required_by": by, "build": ""})

    with ThreadPoolExecutor() as pool:
        return list(pool.map(artifact, items))


def _artifact(item: Item, learner: Learner) -> Artifact:
    """What the index does not tell, the file's server may; else the file is fetched now."""
    sha256, size, released = item.sha256, item.size, item.released
    if not size:
        with suppress(SourceError):
            size, released = learner.head(item.url)
    if not (sha256 and size):
        file = learner.learn(item.url, sha256=sha256 or None)
        sha256, size = sha256_of(file), file.stat().st_size
    return Artifact(
        ecosystem="pypi",
        name=item.name,
        version=item.version,
        path=f"{SIMPLE}/{item.name}/{item.file}",
        url=item.url,
        sha256=sha256,
        size=size,
        license=item.license,
        released=released,
    )


def _rank(artifact: Artifact) -> tuple[bool, Version]:
    return (artifact.build != BUILD_ONLY, Version(artifact.version))
