"""The whole life of a bundle on the lab's upstreams: locked, killed, damaged, updated, received."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, Ended, run
from tests.lab import bundle as lab_bundle
from tests.lab import paths, updates

LANDBRIDGE = BIN / "landbridge"
STACK = lab_bundle.STACK
KILLS = 30
TAMPERS = 100
# The same moments in every run, so that a failure can be looked at again.
SEED = 20261123


@dataclass(frozen=True)
class Story:
    """Two releases of one stack: the second has one newer RPM, conda package and wheel."""

    folder: Path
    upstreams: updates.Upstreams
    packages: dict[str, int]

    @property
    def one(self) -> Path:
        """The first release's bundle."""
        return self.folder / "one"

    @property
    def two(self) -> Path:
        """The second release's bundle."""
        return self.folder / "two"

    def lock(self, name: str) -> Path:
        """The lock that a release was built from."""
        return self.folder / f"{name}.lock"


def landbridge(*words: str | Path, env: dict[str, str] | None = None) -> Ended:
    """Run the command line."""
    done = subprocess.run(
        [LANDBRIDGE, *words], env=env, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout + done.stderr)


def must(ended: Ended) -> Ended:
    assert ended.code == 0, ended.output
    return ended


def build_command(sources: Path, lock: Path, output: Path, cache: Path) -> list[str | Path]:
    places = ["--sources", sources, "--lock", lock, "--output", output, "--cache", cache]
    return ["bundle", "build", STACK, *places, "--sign-key", lab_bundle.secret_key()]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """Both releases, while their upstreams are served."""
    folder = paths.cache() / "bundle-story"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with updates.served(folder / "upstreams") as upstreams:
            downloads = paths.cache() / "downloads"
            env, sources = upstreams.environment, upstreams.sources
            lock = ["lock", STACK, "--sources", sources, "--cache", downloads, "--output"]
            must(landbridge(*lock, folder / "one.lock", env=env))
            one = build_command(sources, folder / "one.lock", folder / "one", downloads)
            must(landbridge(*one, env=env))
            packages = upstreams.update()
            shutil.copy(folder / "one.lock", folder / "two.lock")
            names = [word for name in packages for word in ("--update", name)]
            must(landbridge(*lock, folder / "two.lock", *names, env=env))
            two = build_command(sources, folder / "two.lock", folder / "two", downloads)
            must(landbridge(*two, env=env))
            yield Story(folder, upstreams, packages)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verify(bundle: Path, *words: str) -> Ended:
    return landbridge("bundle", "verify", bundle, "--key", lab_bundle.public_key(), *words)


def killed(command: list[str | Path], seconds: float, env: dict[str, str] | None = None) -> bool:
    """Run and kill with all its children after so long; False if it had ended before."""
    process = subprocess.Popen(
        [LANDBRIDGE, *command],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    # What it started ends with it; when nothing is left, it had ended.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def content(folder: Path) -> dict[str, bytes]:
    """What two bundles are compared by: the manifest, which every other file is held against."""
    return {name: (folder / name).read_bytes() for name in ("manifest.json", "content.json")}


def test_an_update_changes_three_packages_and_nothing_else(story: Story) -> None:
    ended = must(landbridge("lock", "diff", story.lock("one"), story.lock("two"), "--json"))
    difference = json.loads(ended.output)
    changed = {
        (ecosystem, change["name"])
        for ecosystem, changes in difference["changed"].items()
        for change in changes
    }
    assert changed == {("rpm", updates.RPM), ("conda", updates.CONDA), ("pypi", updates.WHEEL)}
    assert not difference["added"]
    assert not difference["removed"]


def test_a_build_that_changes_nothing_leaves_every_file(story: Story) -> None:
    before = {path: path.stat() for path in story.two.rglob("*") if path.is_file()}
    downloads = paths.cache() / "downloads"
    two = build_command(story.upstreams.sources, story.lock("two"), story.two, downloads)
    ended = must(landbridge(*two, env=story.upstreams.environment))
    assert "unchanged" in ended.output
    after = {path: path.stat() for path in story.two.rglob("*") if path.is_file()}
    assert {p: (s.st_ino, s.st_mtime_ns) for p, s in before.items()} == {
        p: (s.st_ino, s.st_mtime_ns) for p, s in after.items()
    }


def test_thirty_killed_builds_and_one_that_ends_give_the_same_bundle(story: Story) -> None:
    """From an empty cache: what was fetched before a kill is not fetched again."""
    moments, folder = random.Random(SEED), story.folder / "killed"
    folder.mkdir()
    command = build_command(
        story.upstreams.sources,
        story.lock("two"),
        folder / "bundle",
        folder / "cache",
    )
    env = story.upstreams.environment
    times = [killed(command, moments.uniform(0.5, 2.5), env) for _ in range(KILLS)]
    assert any(times)
    must(landbridge(*command, env=env))
    assert content(folder / "bundle") == content(story.two)
    must(verify(folder / "bundle"))
    left = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert left == ["bundle", "cache"]
    shutil.rmtree(folder)


def test_a_hundred_changed_bytes_are_all_named(story: Story) -> None:
    """In files of every kind at once: packages, metadata, indexes, the SBOM, the lock."""
    choice, copy = random.Random(SEED), story.folder / "tampered"
    subprocess.run(["cp", "-al", story.two, copy], check=True)
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    full = sorted(path for path, entry in listed.items() if entry["size"])
    metadata = [path for path in full if "repodata" in path or path.count("/") == 0]
    packages = [path for path in full if path not in metadata]
    chosen = [*metadata, *choice.sample(packages, TAMPERS - len(metadata))]
    for path in chosen:
        flip(copy / path, choice)
    ended = verify(copy)
    assert ended.code == 1
    unnamed = [path for path in chosen if path not in ended.output]
    assert len(chosen) == TAMPERS
    assert not unnamed
    shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.asc"])
def test_a_changed_byte_of_what_vouches_for_the_rest_is_named(story: Story, name: str) -> None:
    choice, copy = random.Random(SEED), story.folder / "vouching"
    subprocess.run(["cp", "-al", story.one, copy], check=True)
    original = (copy / name).read_bytes()
    for _ in range(5):
        flip(copy / name, choice)
        ended = verify(copy)
        assert ended.code == 1
        assert "manifest.json" in ended.output
        (copy / name).unlink()
        (copy / name).write_bytes(original)
    must(verify(copy))
    shutil.rmtree(copy)


def flip(path: Path, choice: random.Random) -> None:
    """Change one bit of one byte; other links to the file keep what it was."""
    data = bytearray(path.read_bytes())
    data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    path.unlink()
    path.write_bytes(data)


def test_a_clock_that_is_wrong_does_not_matter(story: Story) -> None:
    for day in ("2001-01-01 00:00:00", "2040-01-01 00:00:00"):
        command = [LANDBRIDGE, "bundle", "verify", story.one, "--key", lab_bundle.public_key()]
        must(run("faketime", day, *command))


def test_a_build_at_another_time_gives_the_same_bytes(story: Story) -> None:
    output, downloads = story.folder / "later", paths.cache() / "downloads"
    command = build_command(story.upstreams.sources, story.lock("one"), output, downloads)
    must(run("faketime", "2040-01-01 00:00:00", LANDBRIDGE, *command))
    assert content(output) == content(story.one)
    shutil.rmtree(output)


def receive(depot: Path, *sources: Path, allow: bool = False) -> list[str | Path]:
    options = ["--depot", depot, "--key", lab_bundle.public_key()]
    return ["depot", "receive", *sources, *options, *(["--allow-downgrade"] if allow else [])]


def test_a_release_is_received_through_thirty_kills(story: Story) -> None:
    """Into an empty depot, so that all of it has to be copied; unit tests have old releases."""
    moments, depot, kills = random.Random(SEED), story.folder / "depot-killed", 0
    while kills < KILLS:
        # A run that was quicker than its kill has completed the release: begin anew.
        if (depot / "current").exists():
            assert content(depot / "current") == content(story.one)
            shutil.rmtree(depot)
        kills += killed(receive(depot, story.one), moments.uniform(0.3, 0.8))
    if not (depot / "current").exists():
        must(landbridge(*receive(depot, story.one)))
    assert content(depot / "current") == content(story.one)
    must(verify(depot / "current"))
    shutil.rmtree(depot)


def test_a_delta_in_volumes_makes_the_whole_release(story: Story) -> None:
    depot, delta, volumes = (story.folder / name for name in ("depot", "delta", "volumes"))
    must(landbridge(*receive(depot, story.one)))
    have = ["--have", depot / "current" / "manifest.json"]
    must(landbridge("bundle", "delta", story.two, *have, "--output", delta))
    must(landbridge("bundle", "split", delta, "--volume-size", "8M", "--output", volumes))
    files = sorted(volumes.glob("*.tar"), reverse=True)
    assert len(files) > 2
    assert all(file.stat().st_size <= 8 * 1024**2 for file in files)
    must(run("sh", "-c", f"cd {volumes} && sha256sum --check --quiet *.sha256"))
    ended = landbridge(*receive(depot, *files[:-1]))
    assert ended.code == 1
    assert f"1 of {len(files)}" in ended.output
    assert content(depot / "current") == content(story.one)
    must(landbridge(*receive(depot, files[-1])))
    assert content(depot / "current") == content(story.two)
    must(verify(depot / "current"))
    shared = (depot / "current" / "bootstrap.sh").stat()
    assert shared.st_nlink > 1, "releases share what they have in common"


def test_an_older_release_is_refused_unless_it_is_asked_for(story: Story) -> None:
    depot = story.folder / "depot-order"
    must(landbridge(*receive(depot, story.two)))
    ended = landbridge(*receive(depot, story.one))
    assert ended.code != 0
    assert "--allow-downgrade" in ended.output
    assert content(depot / "current") == content(story.two)
    must(landbridge(*receive(depot, story.one, allow=True)))
    assert content(depot / "current") == content(story.one)
    must(landbridge("depot", "prune", "--keep", "1", "--depot", depot))
    must(verify(depot / "current"))
    shutil.rmtree(depot)


def test_a_delta_without_its_base_is_refused_with_what_is_missing(story: Story) -> None:
    delta, depot = story.folder / "delta-alone", story.folder / "depot-empty"
    have = ["--have", story.one / "manifest.json"]
    must(landbridge("bundle", "delta", story.two, *have, "--output", delta))
    ended = landbridge(*receive(depot, delta))
    assert ended.code != 0
    base = json.loads((story.one / "manifest.json").read_text())["release"]
    assert base in ended.output
    assert not (depot / "current").exists()
