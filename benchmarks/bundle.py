"""How fast is a bundle verified and rebuilt, and how small is a delta? On the lab's bundle.

Usage: .venv/bin/python benchmarks/bundle.py [--runs N] [--json]
Everything happens in a folder of the lab's cache, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.lab import bundle as lab_bundle  # noqa: E402
from tests.lab import paths, updates  # noqa: E402

LANDBRIDGE = Path(sys.executable).with_name("landbridge")


@dataclass(frozen=True)
class Figure:
    """One line of the result; the goal is about `ratio` unless it says otherwise."""

    what: str
    value: str
    baseline: str
    ratio: float
    goal: str


@dataclass(frozen=True)
class Site:
    """The staging machine of one measurement."""

    work: Path
    upstreams: updates.Upstreams
    stack: Path = lab_bundle.STACK

    def lock(self, *update: str) -> None:
        """Lock everything, or give these packages their newest version."""
        names = [word for name in update for word in ("--update", name)]
        self.landbridge("lock", self.stack, "--output", self.work / "minimal.lock", *names)

    def build(self, name: str) -> None:
        """Build the bundle `name` from the lock."""
        options = ["--lock", self.work / "minimal.lock", "--output", self.work / name]
        options += ["--sign-key", lab_bundle.secret_key()]
        self.landbridge("bundle", "build", self.stack, *options)

    def landbridge(self, *words: str | Path) -> None:
        """Run a command that reads the upstreams, as a user would."""
        places = ["--sources", self.upstreams.sources, "--cache", paths.cache() / "downloads"]
        run(LANDBRIDGE, *words, *places, env=self.upstreams.environment)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each timed command")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    work = paths.cache() / "benchmark"
    shutil.rmtree(work, ignore_errors=True)
    try:
        figures = measure(work, arguments.runs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if arguments.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    for f in figures:
        print(f"{f.what}: {f.value}; baseline: {f.baseline}; ratio {f.ratio:.3f} (goal: {f.goal})")


def measure(work: Path, runs: int) -> list[Figure]:
    """All figures, from two builds of the lab's stack with three updates between them."""
    with updates.served(work / "upstreams") as upstreams:
        site = Site(work, upstreams)
        site.lock()
        full = seconds(lambda: site.build("one"))
        again = [seconds(lambda: site.build("one")) for _ in range(runs)]
        verify = verify_rate(work / "one", runs)
        packages = upstreams.update()
        site.lock(*packages)
        site.build("two")
    return [verify, unchanged(full, again), delta(work, packages)]


def verify_rate(bundle: Path, runs: int) -> Figure:
    """`bundle verify` (signature, manifest and SBOM included) over `sha256sum` on all cores."""
    files = [path for path in bundle.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    names = b"\0".join(os.fsencode(path) for path in files)
    cores = str(os.cpu_count() or 1)

    def baseline() -> None:
        command = ["xargs", "-0", "-P", cores, "-n", "32", "sha256sum"]
        subprocess.run(command, input=names, check=True, stdout=subprocess.DEVNULL)

    def ours() -> None:
        run(LANDBRIDGE, "bundle", "verify", bundle, "--key", lab_bundle.public_key())

    baseline()  # brings the files into memory, so that no run waits for the disk
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(
        f"verify, {len(files)} files, {size / 1e6:.0f} MB",
        f"{mine:.2f} s, {size / mine / 1e6:.0f} MB/s",
        f"sha256sum in {cores} processes {theirs:.2f} s, {size / theirs / 1e6:.0f} MB/s",
        theirs / mine,
        "at least 0.95",
    )


def unchanged(full: float, again: list[float]) -> Figure:
    """A build when nothing has changed over the first one, with every download in the cache."""
    median = statistics.median(again)
    return Figure(
        "unchanged rebuild",
        f"{median:.2f} s (slowest {max(again):.2f} s)",
        f"first build from the lock, downloads cached or not: {full:.2f} s",
        median / full,
        "at most 2 s",
    )


def delta(work: Path, packages: dict[str, int]) -> Figure:
    """Bytes of a delta over the bytes of the packages that changed."""
    run(
        *(LANDBRIDGE, "bundle", "delta", work / "two", "--have", work / "one" / "manifest.json"),
        *("--output", work / "delta"),
    )
    size = sum(path.stat().st_size for path in (work / "delta").rglob("*") if path.is_file())
    changed = sum(packages.values())
    return Figure(
        "delta",
        f"{size} bytes",
        f"{changed} bytes of {', '.join(packages)} updated",
        size / changed,
        "at most 1.05",
    )


def run(*words: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command, silent unless it fails."""
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def seconds(work: Callable[[], None]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
