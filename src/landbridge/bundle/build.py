"""Build a bundle from its lock: fetch, assemble, index, describe, sign, put in place at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.resources import files as package_files
from pathlib import Path
from typing import NamedTuple

from landbridge.access import Access
from landbridge.bundle import manifest, r_binaries, sbom, sign, toolkit, unchanged
from landbridge.bundle.content import NAME as CONTENT
from landbridge.bundle.content import content
from landbridge.bundle.fetch import BUILT, Cache
from landbridge.ecosystems import Maker, cran, oci
from landbridge.errors import InputError
from landbridge.files import (
    exclusive,
    full_disk_named,
    link,
    need_space,
    put_in_place,
    recover,
    same_filesystem,
    sha256_of,
    write_file,
)
from landbridge.lock import Artifact, Lock
from landbridge.lock_file import Inputs, enforce_policy, fitting_lock
from landbridge.locking import ECOSYSTEMS, lock_stack
from landbridge.stack import Stack, load_stack
from landbridge.stages import Say, Tell, megabytes, stage

# Beside the artifacts: indexes, lock, SBOM and manifest, for each artifact, rounded up.
DESCRIPTION_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class Options(Inputs):
    """What a bundle is built from, and where.

    Attributes:
        output: the bundle's folder.
        sign_key: signs it; None leaves it unsigned.
        r_binaries: whether R packages are compiled here, so that nodes need no compiler.
    """

    output: Path
    sign_key: sign.SigningKey | None = None
    r_binaries: bool = False

    @property
    def partial(self) -> Path:
        """Where the bundle stands until it is whole."""
        return self.output.with_name(f"{self.output.name}.partial")


@dataclass
class Built:
    """What came of a build.

    Attributes:
        release: `<stack>-<hash>`.
        files: number of files, the manifest included, signatures not.
        size: bytes of these.
        fetched: bytes that came over the network or from file:// sources.
        signed: fingerprint of the key that signed it; empty without a signature.
        changed: False if the bundle was there already, whole and from the same inputs.
        seconds: duration of each stage.
    """

    release: str = ""
    files: int = 0
    size: int = 0
    fetched: int = 0
    signed: str = ""
    changed: bool = True
    seconds: dict[str, float] = field(default_factory=dict)


def build(options: Options, say: Say, *, tell: Tell = lambda _new, _total: None) -> Built:
    """Build the bundle of a lock; an older one at `output` stays until the new one is whole.

    Where there is no lock it is made first. Killed at any moment it leaves the old bundle or
    the new one, and the next build goes on with what was fetched.

    Args:
        options: what from, where to.
        say: takes one line of progress for each stage.
        tell: takes bytes fetched since the last call, and bytes wanted; called by threads.

    Raises:
        InputError: the stack, its sources, its lock or `output` is wrong.
        PolicyError: the policy forbids what is locked.
        SourceError: a source cannot be read or serves something else than promised.
        LandbridgeError: a tool is missing, space is short, or another build is at work.
    """
    full = full_disk_named(options.cache, options.output.parent)
    with exclusive(options.output, "another build"), full:
        recover(options.output)
        _refuse_foreign(options.output)
        built = Built()
        job = _prepare(options, built, say, tell)
        inputs = _inputs_hash(options)
        if facts := unchanged.recall(options.output, inputs, job.store):
            say("unchanged")
            return Built(**{**facts, "fetched": 0, "changed": False, "seconds": built.seconds})
        with _partial(options.partial):
            _make(job, built, say)
            put_in_place(options.partial, options.output)
        facts = {key: value for key, value in asdict(built).items() if key != "seconds"}
        unchanged.remember(options.output, inputs, facts, job.store)
    return built


def space_to_assemble(lock: Lock, cache: Path | None, output: Path) -> int:
    """Bytes that a bundle takes beside the cache.

    Args:
        lock: what goes into it.
        cache: on its filesystem hard links cost nothing; None for the bundle on its own.
        output: the bundle's folder.
    """
    described = DESCRIPTION_BYTES * len(lock.artifacts)
    if cache is not None and same_filesystem(cache, output):
        return described
    return described + sum(artifact.size for artifact in lock.artifacts)


def maker(artifact: Artifact) -> Maker | None:
    """What brings an artifact into the cache that is no single file behind a URL."""
    if artifact.ecosystem == "oci":
        return oci.make
    return toolkit.make if artifact.url.startswith(BUILT) else None


class _Job(NamedTuple):
    """What every stage of a build reads."""

    options: Options
    stack: Stack
    lock: Lock
    store: Cache


def _prepare(options: Options, built: Built, say: Say, tell: Tell) -> _Job:
    """The stack, a lock that fits it and the policy, and the cache."""
    if not options.lock_path.exists():
        with stage("lock", say, built.seconds) as done:
            locked = lock_stack(options, say, tell=tell)
            done(f"{len(locked.lock.artifacts)} artifacts, written to {options.lock_path}")
    stack = load_stack(options.stack_file, options.sources, complete=False)
    lock = fitting_lock(options, stack)
    enforce_policy(options, lock)
    return _Job(options, stack, lock, Cache(options.cache, tell, Access(stack.sources.access)))


def _inputs_hash(options: Options) -> str:
    key = options.sign_key.name if options.sign_key else ""
    # A key in a file may be replaced by another one under the same name.
    content = sha256_of(Path(key)) if key and Path(key).is_file() else ""
    stack, lock = options.stack_file.read_bytes(), options.lock_path.read_bytes()
    return unchanged.inputs_of(stack, lock, key, content, f"R binaries: {options.r_binaries}")


@contextmanager
def _partial(folder: Path) -> Iterator[None]:
    """An empty folder that does not outlive a failed build."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(job: _Job, built: Built, say: Say) -> None:
    """The whole bundle, in the folder for what is not whole yet."""
    options, lock, root = job.options, job.lock, job.options.partial
    with stage("fetch", say, built.seconds) as done:
        _fetch(job)
        built.fetched = job.store.fetched
        done(f"{len(lock.artifacts)} artifacts, {megabytes(built.fetched)} fetched")
    with stage("assemble", say, built.seconds) as done:
        need_space(root, space_to_assemble(lock, options.cache, root), "the bundle")
        _assemble(job)
        done("linked from the cache")
    with stage("index", say, built.seconds) as done:
        for ecosystem in ECOSYSTEMS.values():
            ecosystem.index(root, lock, job.store)
        done("signatures checked, repositories written")
    binaries: list[r_binaries.Binary] = []
    if options.r_binaries:
        with stage("r binaries", say, built.seconds) as done:
            binaries = r_binaries.make(root, lock, job.store, say)
            done(f"{len(binaries)} compiled packages")
    with stage("manifest", say, built.seconds) as done:
        _describe(job, built, binaries)
        done(f"{built.files} files, {megabytes(built.size)}")
    if options.sign_key:
        with stage("sign", say, built.seconds) as done:
            _keep_signatures(options.output, root)
            built.signed = sign.sign(root, options.sign_key)
            done(f"by {built.signed}")


def _fetch(job: _Job) -> None:
    """Everything into the cache: files in parallel, then what tools bring or what is made."""
    artifacts = job.lock.artifacts
    images = [image for image in job.lock.of("oci") if not oci.has(image, job.store)]
    need_space(job.store.root, sum(image.size for image in images), "fetching the images")
    files = [artifact for artifact in artifacts if not maker(artifact)]
    job.store.fetch(files, _alternatives)
    for artifact in artifacts:
        if make := maker(artifact):
            make(artifact, job.stack.sources, job.store)


def _alternatives(artifact: Artifact) -> Sequence[str]:
    """Where an artifact may have gone since it was locked."""
    return cran.alternatives(artifact) if artifact.ecosystem == "cran" else ()


def _assemble(job: _Job) -> None:
    options, lock, root = job.options, job.lock, job.options.partial
    for artifact in lock.artifacts:
        if artifact.ecosystem != "oci":
            link(job.store.path(artifact.sha256), root / artifact.path)
    write_file(root / "stack.yml", options.stack_file.read_bytes())
    write_file(root / "stack.lock", options.lock_path.read_bytes())
    script = package_files("landbridge.bundle").joinpath("bootstrap.sh").read_bytes()
    write_file(root / "bootstrap.sh", script, mode=0o755)


def _describe(job: _Job, built: Built, binaries: Sequence[r_binaries.Binary]) -> None:
    """Write SBOM, content.json and manifest.json; the release is the hash of all the rest."""
    stack, lock, root = job.stack, job.lock, job.options.partial
    write_file(root / sbom.NAME, sbom.document(lock, binaries))
    known = {a.path: a.sha256 for a in lock.artifacts if a.ecosystem != "oci"}
    known |= {binary.path: binary.sha256 for binary in binaries}
    blobs = "images/blobs/sha256/"
    paths = manifest.files_of(root)
    known |= {path: path.removeprefix(blobs) for path in paths if path.startswith(blobs)}
    entries = manifest.describe(root, paths, known)
    built.release = manifest.release_of(stack.name, entries)
    write_file(root / CONTENT, content(root, stack, lock, built.release, entries, job.store))
    entries |= manifest.describe(root, [CONTENT], {})
    manifest.write_manifest(root, built.release, entries)
    built.files = len(entries) + 1
    built.size = sum(e.size for e in entries.values()) + (root / manifest.NAME).stat().st_size


def _keep_signatures(old: Path, root: Path) -> None:
    """Offer the signer the old bundle's signatures: what did not change keeps its time."""
    for path in sign.signatures_of(root):
        if (old / path).is_file():
            write_file(root / path, (old / path).read_bytes())


def _refuse_foreign(output: Path) -> None:
    """Never replace a folder that is not a bundle."""
    if not output.exists() or (output / manifest.NAME).is_file():
        return
    if not output.is_dir() or any(output.iterdir()):
        raise InputError(
            f"{output}: exists and is not a bundle", "name another folder with --output"
        )
