"""R packages compiled once, here, for each target and its R: `bundle build --r-binaries`.

A result is kept in the cache under a hash over everything that went in (its source, the results
that it is built on, the root's RPMs): what did not change is not compiled again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from landbridge.bundle import r_log, r_root, r_tree
from landbridge.bundle.r_content import Installation, installations, system_rpms
from landbridge.bundle.r_packages import (
    Package,
    Packages,
    closure,
    hash_of,
    keys,
    left_out,
    packages_of,
    stanza,
)
from landbridge.ecosystems import Learner
from landbridge.ecosystems._cran_index import write_index
from landbridge.errors import InputError, SourceError
from landbridge.files import link, scratch
from landbridge.lock import Lock
from landbridge.process import run
from landbridge.stack import Stack
from landbridge.stages import Say, stage

# To be raised when r_root.sh or r_tree.py change what comes out.
_RECIPE = 1
_KIND = "r-packages"
_FOLDER = "r-binaries"
# `Built:` of every package: no clock takes part (see `bundle.part.SEAL`).
_BUILT = "1980-01-01 00:00:00 UTC"
_INSTALL = ("R", "CMD", "INSTALL", "--strip", "--strip-lib", f"--built-timestamp={_BUILT}")
_ENVIRONMENT = {
    "PATH": "/usr/bin:/usr/sbin",
    # The root's own, for this package alone.
    "HOME": "/tmp",  # noqa: S108
    "TMPDIR": "/tmp",  # noqa: S108
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "315532800",
    # Packages are compiled side by side; within one, some do not stand it.
    "MAKEFLAGS": "-j1",
}


class Binary(NamedTuple):
    """A compiled package in the bundle.

    Attributes:
        path: its place in the bundle.
        sha256: hex digest of it.
        source: the package's source.
        target: for which kind of node.
        r_version: for which R.
    """

    path: str
    sha256: str
    source: Package
    target: str
    r_version: str


@dataclass(frozen=True)
class Result:
    """What is kept of a compiled package: where it is in the cache, and what its index says."""

    sha256: str
    md5: str
    size: int
    built: str


class Work(NamedTuple):
    """What there is to do for one R of one target.

    Attributes:
        r: the R.
        packages: all that can be compiled for it.
        left_out: those that cannot, with the reason; R takes their sources instead.
        keys: of the results.
        results: those that are in the cache.
        root: what the packages are compiled in.
    """

    r: Installation
    packages: Packages
    left_out: Mapping[str, str]
    keys: Mapping[str, str]
    results: Mapping[str, Result]
    root: r_root.Spec

    @property
    def missing(self) -> list[str]:
        """Names of what is not in the cache, sorted."""
        return sorted(self.packages.keys() - self.results.keys())


def work_of(stack: Stack, lock: Lock, learner: Learner) -> list[Work]:
    """What there is to do; looks at the lock and the cache, and does nothing.

    Raises:
        InputError: a target has no R, or a package of the site library needs another R or
            another version of a neighbour.
    """
    if stack.r.provider != "rpm":
        raise InputError(
            f"--r-binaries: r.provider {stack.r.provider} is not supported",
            "leave --r-binaries out: conda's own r-* packages are compiled already",
        )
    packages = packages_of(lock)
    return [_work(r, packages, lock, learner) for r in installations(lock) if packages]


def make(root: Path, stack: Stack, lock: Lock, learner: Learner, say: Say) -> list[Binary]:
    """Compile what is missing, and write `cran/binaries/` of a bundle.

    Every package that can be compiled is, also after another one has failed: the next build goes
    on with these.

    Args:
        root: the bundle, whose RPMs are in place and indexed.
        stack: what was wanted.
        lock: what is in it.
        learner: keeps results.
        say: takes one line for each package.

    Raises:
        SourceError: packages do not compile; each is named, with its errors and its log.
        InputError: see `work_of`.
        LandbridgeError: this machine cannot make a root to compile in.
    """
    made: list[Binary] = []
    for work in work_of(stack, lock, learner):
        results = dict(work.results)
        if work.missing:
            with _alone(learner.folder(_FOLDER)) as folder:
                results |= _Compiler(work, root, folder, learner, say).run()
        made += _place(root, work, results, learner)
    return made


def roots(learner: Learner) -> Path:
    """Where the roots are kept that packages are compiled in, one for each target."""
    return learner.folder(_FOLDER) / "roots"


def _work(r: Installation, packages: Packages, lock: Lock, learner: Learner) -> Work:
    reasons = left_out(packages, r.version)
    if refused := {n: why for n, why in reasons.items() if packages[n].is_of_site}:
        lines = "\n".join(f"  {packages[n].title} {why}" for n, why in sorted(refused.items()))
        raise InputError(
            f"--r-binaries: not to be compiled for {r.title}:\n{lines}",
            "pin versions that fit in r.packages (NAME ==VERSION), and lock again",
        )
    fitting = {name: package for name, package in packages.items() if name not in reasons}
    system = system_rpms(lock)[r.target]
    spec = r_root.spec(lock, r.target, {*system["run"], *system["build"]})
    hashes = keys(fitting, hash_of(spec.key, r.library, _recipe()))
    known = {name: _recall(learner, key) for name, key in hashes.items()}
    results = {name: result for name, result in known.items() if result}
    return Work(r, fitting, reasons, hashes, results, spec)


def _recipe() -> str:
    """How packages are compiled, as far as it can change what comes out."""
    return repr((_RECIPE, _INSTALL, _ENVIRONMENT))


def _recall(learner: Learner, key: str) -> Result | None:
    text = learner.recall(_KIND, key)
    result = Result(**json.loads(text)) if text else None
    return result if result and learner.has(result.sha256) else None


def _place(
    root: Path, work: Work, results: Mapping[str, Result], learner: Learner
) -> Iterator[Binary]:
    """Link the results into the bundle, and write their index."""
    contrib = f"{work.r.path}/src/contrib"
    stanzas = []
    for name in sorted(results):
        package, result = work.packages[name], results[name]
        path = f"{contrib}/{package.artifact.file}"
        link(learner.path(result.sha256), root / path)
        stanzas.append(stanza(package, result.md5, result.built))
        yield Binary(path, result.sha256, package, work.r.target, work.r.version)
    write_index(root / contrib, stanzas)


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """Builds on one cache compile one after the other; the kernel ends a dead one's turn."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


class _Failed(Exception):
    """A package did not compile; its log is kept."""


class _Compiler:
    """Compiles the missing packages of one R, as many at once as there are CPUs."""

    def __init__(self, work: Work, bundle: Path, folder: Path, learner: Learner, say: Say) -> None:
        self.work, self.learner, self.say = work, learner, say
        self.root = r_root.make(work.root, bundle, roots(learner), work.r.library)
        self.logs = folder / "logs" / work.r.target / work.r.short
        self.scratch = folder / "scratch"
        self.results = dict(work.results)
        self.failed: dict[str, Path] = {}
        self.running: set[subprocess.Popen[bytes]] = set()
        # What a killed build left.
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self) -> dict[str, Result]:
        """The results of all packages."""
        missing = set(self.work.missing)
        below = {n: missing.intersection(self.work.packages[n].needs) for n in missing}
        order = TopologicalSorter(below)
        order.prepare()
        with scratch(self.scratch) as self.trees, ThreadPoolExecutor(os.cpu_count()) as pool:
            # In front, one after the other: what is compiled anew is built on these.
            for name in sorted({d for n in missing for d in closure(n, self.work.packages)}):
                if name in self.results:
                    self._unpack(name)
            try:
                self._in_order(order, pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(self.running):
                    process.kill()
                raise
        if self.failed:
            raise self._error()
        return self.results

    def _in_order(self, order: TopologicalSorter[str], pool: ThreadPoolExecutor) -> None:
        """What a package needs is compiled before it; what needs a failed one is not tried."""
        futures: dict[Future[None], str] = {}
        while (ready := order.get_ready()) or futures:
            futures |= {pool.submit(self._one, name): name for name in sorted(ready)}
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                name = futures.pop(future)
                try:
                    future.result()
                    order.done(name)
                except _Failed:
                    pass

    def _one(self, name: str) -> None:
        """Compile one package and bring the result into the cache."""
        package, r = self.work.packages[name], self.work.r
        with stage("compile", self.say) as done, scratch(self.scratch) as folder:
            self._install(package, folder)
            tree, tarball = folder / "library" / name, folder / "packed.tar.gz"
            r_tree.pack(tree, tarball)
            md5 = hashlib.md5(tarball.read_bytes(), usedforsecurity=False).hexdigest()
            built = r_tree.description(tree)["Built"]
            size = tarball.stat().st_size
            kept = self.learner.store(tarball)
            self.results[name] = Result(kept.name, md5, size, built)
            self.learner.remember(
                _KIND, self.work.keys[name], json.dumps(asdict(self.results[name]))
            )
            tree.rename(self.trees / name)
            done(f"{package.title} for {r.title}")

    def _install(self, package: Package, folder: Path) -> None:
        """R CMD INSTALL with the packages that it needs in sight, and no others."""
        for part in ("source", "tmp", "library", "needs"):
            (folder / part).mkdir()
        _extract(self.learner.path(package.artifact.sha256), folder / "source")
        for needed in closure(package.name, self.work.packages):
            (folder / "needs" / needed).symlink_to(self.trees / needed)
        for part in ("source", "tmp", "library"):
            _give_away(folder / part)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{package.artifact.file.removesuffix('.tar.gz')}.log"
        variables = {**_ENVIRONMENT, "R_LIBS": self.root.library}
        command = ["/usr/bin/env", "-i", *(f"{key}={value}" for key, value in variables.items())]
        command += [*_INSTALL, f"--library={self.root.library}", f"/build/{package.name}"]
        with log.open("wb") as output:
            process = self.root.start(command, folder, output)
            self.running.add(process)
            code = process.wait()
            self.running.discard(process)
        if code:
            self.failed[package.name] = log
            raise _Failed
        log.unlink()

    def _unpack(self, name: str) -> None:
        _extract(self.learner.path(self.results[name].sha256), self.trees)

    def _error(self) -> SourceError:
        """One error for all that failed."""
        packages, r = self.work.packages, self.work.r
        lines = []
        for name, log in sorted(self.failed.items()):
            lines.append(f"  {packages[name].title} (log: {log}):")
            lines += [f"    {line}" for line in r_log.faults(log.read_text(errors="replace"))]
        untried = packages.keys() - self.results.keys() - self.failed.keys()
        if untried:
            lines.append(f"  not tried, for they need these: {', '.join(sorted(untried))}")
        return SourceError(
            f"--r-binaries: not compiled for {r.title}:\n" + "\n".join(lines),
            "name what a package lacks in r.system_requirements of the stack (PACKAGE: {build: "
            "[RPM]}) and lock again, or pin a version that compiles; the next build goes on here",
        )


def _extract(tarball: Path, folder: Path) -> None:
    """GNU tar keeps to the folder, whatever names and links a tarball holds."""
    options = ("--no-same-owner", "--no-same-permissions")
    run(["tar", "--extract", *options, "--file", tarball, "--directory", folder], package="tar")


def _give_away(folder: Path) -> None:
    """Make a folder nobody's, with all that is in it."""
    for path, _, files in os.walk(folder):
        for name in (path, *(f"{path}/{file}" for file in files)):
            os.chown(name, r_root.NOBODY, r_root.NOBODY, follow_symlinks=False)
