"""R packages compiled in a root, in the order of their needs, as many at once as there are CPUs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path

from landbridge.bundle import r_conda, r_log, r_root, r_tree
from landbridge.bundle.r_packages import Package, closure
from landbridge.bundle.r_work import FOLDER, INSTALL, Result, Work, keep, roots, variables
from landbridge.ecosystems import Learner
from landbridge.errors import SourceError
from landbridge.files import scratch
from landbridge.process import run
from landbridge.stages import Say, stage


def compiled(work: Work, bundle: Path, learner: Learner, say: Say) -> dict[str, Result]:
    """The results of all packages; what is missing is compiled and kept.

    Args:
        work: what there is to do.
        bundle: the bundle, whose RPMs are in place and indexed.
        learner: keeps results.
        say: takes one line for each package that is compiled.

    Raises:
        SourceError: packages do not compile; each is named, with its errors and its log. The
            others are compiled all the same, but for those that need these.
        LandbridgeError: this machine cannot make a root to compile in.
    """
    if not work.missing:
        return dict(work.results)
    with _alone(learner.folder(FOLDER)) as folder:
        return _Compiler(work, bundle, folder, learner, say).run()


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
    """Compiles the missing packages of one R."""

    def __init__(self, work: Work, bundle: Path, folder: Path, learner: Learner, say: Say) -> None:
        self.work, self.learner, self.say = work, learner, say
        self.root = r_root.make(work.root, bundle, roots(learner), work.r.library)
        if work.conda:
            r_conda.install(work.conda, bundle, self.root.place)
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
        with scratch(self.scratch) as self.trees, ThreadPoolExecutor(_workers()) as pool:
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
            keep(self.learner, self.work.keys[name], self.results[name])
            tree.rename(self.trees / name)
            done(f"{package.title} for {r.title}")

    def _install(self, package: Package, folder: Path) -> None:
        """R CMD INSTALL with the packages that it needs in sight, and no others."""
        for part in ("source", "tmp", "library", "needs"):
            (folder / part).mkdir()
        _extract(
            self.learner.path(package.artifact.sha256), folder / "source", "--no-same-permissions"
        )
        for needed in closure(package.name, self.work.packages):
            (folder / "needs" / needed).symlink_to(self.trees / needed)
        for part in ("source", "tmp", "library"):
            _give_away(folder / part)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{package.artifact.file.removesuffix('.tar.gz')}.log"
        given = {**variables(self.work.conda), "R_LIBS": self.root.library}
        command = ["/usr/bin/env", "-i", *(f"{key}={value}" for key, value in given.items())]
        command += [*INSTALL, f"--library={self.root.library}", f"/build/{package.name}"]
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
        # Readable for nobody, whatever the umask.
        _extract(self.learner.path(self.results[name].sha256), self.trees, "--same-permissions")

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


def _workers() -> int:
    """CPUs that we may use."""
    return len(os.sched_getaffinity(0))


def _extract(tarball: Path, folder: Path, modes: str) -> None:
    """GNU tar keeps to the folder, whatever names and links a tarball holds."""
    options = ("--no-same-owner", modes)
    run(["tar", "--extract", *options, "--file", tarball, "--directory", folder], package="tar")


def _give_away(folder: Path) -> None:
    """Make a folder nobody's, with all that is in it."""
    for path, _, files in os.walk(folder):
        for name in (path, *(f"{path}/{file}" for file in files)):
            os.chown(name, r_root.NOBODY, r_root.NOBODY, follow_symlinks=False)
