"""Build a bundle: resolve, fetch, assemble, index, describe, and put it in place in one step."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from pathlib import Path

from landbridge.bundle import manifest, toolkit
from landbridge.bundle.content import NAME as CONTENT
from landbridge.bundle.content import content
from landbridge.bundle.fetch import Cache, Tell
from landbridge.ecosystems import Ecosystem, conda, cran, oci, pypi, rpm
from landbridge.errors import InputError
from landbridge.files import link, need_space, write_file
from landbridge.lock import Lock, Part, merge
from landbridge.stack import Stack, load_stack

# The longest to resolve come first, so that the short ones fill the gaps.
ECOSYSTEMS: dict[str, Ecosystem] = {
    "toolkit": toolkit,
    "rpm": rpm,
    "pypi": pypi,
    "conda": conda,
    "cran": cran,
    "images": oci,
}
# Resolvers are single-threaded programs, half of them waiting for the network.
RESOLVERS = 2

Say = Callable[[str], None]


@dataclass
class Built:
    """What came of a build.

    Attributes:
        release: `<stack>-<hash>`.
        files: number of files, the manifest included.
        size: bytes of the bundle.
        fetched: bytes that came over the network or from file:// sources.
        seconds: duration of each stage.
    """

    release: str = ""
    files: int = 0
    size: int = 0
    fetched: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def build(
    stack_file: Path,
    sources: Path | None,
    output: Path,
    cache: Path,
    say: Say,
    *,
    tell: Tell = lambda _new, _total: None,
) -> Built:
    """Build the bundle of a stack; an older one at `output` stays until the new one is whole.

    Args:
        stack_file: the stack's YAML file.
        sources: the sources file, where the stack has none of its own.
        output: the bundle's folder.
        cache: folder for what was fetched, kept between builds.
        say: takes one line of progress for each stage.
        tell: takes bytes fetched since the last call, and bytes wanted; called by threads.

    Raises:
        InputError: the stack, its sources or `output` is wrong.
        SourceError: a source cannot be read or serves something else than promised.
        LandbridgeError: a tool is missing or space is short.
    """
    stack = load_stack(stack_file, sources)
    _refuse_foreign(output)
    built, store = Built(), Cache(cache, tell)
    lock = _resolve(stack, store, built, say)
    files = [a for a in lock.artifacts if a.ecosystem != "oci"]
    with _stage("fetch", built, say) as done:
        store.fetch(files)
        built.fetched = store.fetched
        done(f"{len(files)} files, {_mb(built.fetched)} fetched since the start")
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with _stage("assemble", built, say) as done:
        need_space(partial, _copied_bytes(lock, store, partial), "the bundle")
        _assemble(partial, lock, store, stack_file)
        done(f"{len(files)} files linked")
    with _stage("index", built, say) as done:
        for ecosystem in ECOSYSTEMS.values():
            ecosystem.index(partial, lock, store)
        done("signatures checked, repositories written")
    with _stage("manifest", built, say) as done:
        _describe(partial, stack, lock, built)
        done(f"{built.files} files, {_mb(built.size)}")
    _put_in_place(partial, output)
    return built


def _resolve(stack: Stack, store: Cache, built: Built, say: Say) -> Lock:
    """All ecosystems side by side; the first fault ends the build."""

    def part(name: str) -> Part:
        with _stage(f"resolve {name}", built, say) as done:
            found = ECOSYSTEMS[name].resolve(stack, store, None)
            done(f"{len(found.artifacts)} artifacts")
        return found

    with _stage("resolve", built, say), ThreadPoolExecutor(RESOLVERS) as pool:
        parts = [pool.submit(part, name) for name in ECOSYSTEMS]
        try:
            results = [future.result() for future in parts]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return merge(stack.name, stack.targets, results)


def _assemble(root: Path, lock: Lock, store: Cache, stack_file: Path) -> None:
    for artifact in lock.artifacts:
        if artifact.ecosystem != "oci":
            link(store.path(artifact.sha256), root / artifact.path)
    write_file(root / "stack.yml", stack_file.read_bytes())
    write_file(root / "stack.lock", lock.dump())
    script = package_files("landbridge.bundle").joinpath("bootstrap.sh").read_bytes()
    write_file(root / "bootstrap.sh", script, mode=0o755)


def _describe(root: Path, stack: Stack, lock: Lock, built: Built) -> None:
    """Write content.json and manifest.json; the release is the hash of all the rest."""
    known = {a.path: a.sha256 for a in lock.artifacts if a.ecosystem != "oci"}
    blobs = "images/blobs/sha256/"
    paths = manifest.files_of(root)
    known |= {path: path.removeprefix(blobs) for path in paths if path.startswith(blobs)}
    entries = manifest.describe(root, paths, known)
    built.release = f"{stack.name}-{manifest.content_hash(entries)}"
    write_file(root / CONTENT, content(root, stack, lock, built.release, entries))
    entries |= manifest.describe(root, [CONTENT], {})
    manifest.write_manifest(root, built.release, entries)
    built.files = len(entries) + 1
    built.size = sum(e.size for e in entries.values()) + (root / manifest.NAME).stat().st_size


def _refuse_foreign(output: Path) -> None:
    """Never replace a folder that is not a bundle."""
    if output.exists() and not (output / manifest.NAME).is_file() and any(_entries(output)):
        raise InputError(
            f"{output}: exists and is not a bundle", "name another folder with --output"
        )


def _entries(path: Path) -> Sequence[Path]:
    return list(path.iterdir()) if path.is_dir() else [path]


def _copied_bytes(lock: Lock, store: Cache, partial: Path) -> int:
    """Bytes that linking cannot save: all of them when the cache is on another filesystem."""
    partial.mkdir(parents=True)
    if partial.stat().st_dev == store.root.stat().st_dev:
        return 0
    return sum(artifact.size for artifact in lock.artifacts)


def _put_in_place(partial: Path, output: Path) -> None:
    old = output.with_name(output.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if output.exists():
        output.rename(old)
    partial.rename(output)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _stage(name: str, built: Built, say: Say) -> Iterator[Callable[[str], None]]:
    """Time a stage and say one line when it is done; the body adds what it did."""
    notes: list[str] = []
    start = time.monotonic()
    yield notes.append
    built.seconds[name] = round(time.monotonic() - start, 2)
    say(f"{name:<16} {built.seconds[name]:6.1f} s  {''.join(notes)}".rstrip())


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
