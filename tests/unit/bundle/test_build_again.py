"""Builds that meet something: the same bundle, a killed build's rest, another build, no space."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from landbridge.bundle import unchanged
from landbridge.bundle.build import Built, Options, build
from landbridge.bundle.fetch import Cache
from landbridge.bundle.sign import SigningKey, signatures_of
from landbridge.bundle.verify import verify
from landbridge.cli.main import app
from landbridge.errors import LandbridgeError
from landbridge.files import exclusive
from landbridge.locking import lock_stack
from tests.unit.openpgp import Keys, keys

pytestmark = pytest.mark.usefixtures("only_rpm")
# Names that a build makes or removes, in the order in which it does.
EVENTS = ("os.rename", "os.link", "os.mkdir", "os.remove", "shutil.rmtree")

# Builds as the tests do, and dies without a word when the given event comes.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from landbridge import files, locking
from landbridge.bundle.build import Options, build
from landbridge.errors import LandbridgeError

job = json.loads(sys.argv[1])
for name in set(locking.ECOSYSTEMS) - {"rpm"}:
    del locking.ECOSYSTEMS[name]
if not job["exchange"]:
    files._exchange = lambda one, two: False
count = 0

def hook(event, _arguments):
    global count
    if event in job["events"]:
        count += 1
        if count == job["die"]:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
try:
    build(Options(**{k: Path(v) for k, v in job["options"].items()}), lambda line: None)
except LandbridgeError as error:
    sys.exit(str(error))
print(count)
"""


def options(site: Any, folder: Path, cache: Path, **changes: Any) -> Options:
    """A stack of its own in `folder`, locked."""
    folder.mkdir(exist_ok=True)
    wanted = yaml.safe_load(site.stack.read_text()) | {"targets": ["el9-x86_64"]} | changes
    (folder / "stack.yml").write_text(yaml.dump(wanted))
    made = Options(
        stack_file=folder / "stack.yml",
        sources=site.sources,
        output=folder / "bundle",
        cache=cache,
    )
    lock_stack(made, lambda _line: None)
    return made


def silent(made: Options) -> Built:
    return build(made, lambda _line: None)


def in_process(made: Options, die: int = 0, *, exchange: bool = True) -> Any:
    names = ("stack_file", "sources", "output", "cache")
    job = {
        "options": {name: str(getattr(made, name)) for name in names},
        "events": EVENTS,
        "die": die,
        "exchange": exchange,
    }
    command = [sys.executable, "-c", SCRIPT, json.dumps(job)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def release(bundle: Path) -> str:
    """The release of a bundle that is whole."""
    verdict = verify(bundle, allow_unsigned=True)
    assert verdict.problems() == []
    return verdict.release


def test_nothing_changed_touches_no_file(site, tmp_path: Path) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    first = silent(made)
    before = unchanged.states(made.output)
    lines: list[str] = []
    again = build(made, lines.append)
    assert lines == ["unchanged"]
    assert unchanged.states(made.output) == before
    assert not again.changed
    assert (again.release, again.files, again.size) == (first.release, first.files, first.size)
    assert again.fetched == 0


@pytest.mark.parametrize(
    "touch",
    [
        lambda root: os.utime(root / "stack.yml", (1, 1)),
        lambda root: (root / "extra").write_text(""),
        lambda root: (root / "content.json").unlink(),
        lambda root: (
            shutil.copy(root / "stack.lock", root / "copy")
            and (root / "copy").replace(root / "stack.lock")
        ),
        lambda root: (root / "link").symlink_to("/etc"),
    ],
    ids=["time", "extra", "missing", "inode", "link"],
)
def test_what_was_touched_is_built_anew(site, tmp_path: Path, touch: Any) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    first = silent(made)
    touch(made.output)
    again = silent(made)
    assert again.changed
    assert again.release == first.release == release(made.output)


def test_another_stack_or_lock_is_another_bundle(site, tmp_path: Path) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    first = silent(made)
    with made.stack_file.open("a") as file:
        file.write("# a comment\n")
    second = silent(made)
    assert second.changed
    assert second.release != first.release, "the bundle carries the stack's own bytes"
    # A lock may be set in another way by hand: it is carried as it is.
    text = made.lock_path.read_bytes() + b"# reviewed\n"
    made.lock_path.write_bytes(text)
    assert silent(made).changed
    assert (made.output / "stack.lock").read_bytes() == text


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "fallback"])
def test_a_killed_build_leaves_the_old_or_the_new_and_the_next_one_ends_it(
    site, tmp_path: Path, exchange: bool
) -> None:
    cache = tmp_path / "cache"
    old = options(site, tmp_path / "old", cache)
    old_release = silent(old).release
    new = options(site, tmp_path / "new", cache, rpm={"packages": ["libhello"]})
    for _ in ("fills the cache", "is like all others"):
        shutil.rmtree(new.output, ignore_errors=True)
        shutil.copytree(old.output, new.output)
        counted = in_process(new, exchange=exchange)
        assert counted.returncode == 0, counted.stderr
    new_release, total = release(new.output), int(counted.stdout)
    assert new_release != old_release
    last = range(total - 4, total + 1)
    for die in (1, total // 3, total * 2 // 3, *last):
        shutil.rmtree(new.output)
        shutil.copytree(old.output, new.output)
        killed = in_process(new, die, exchange=exchange)
        assert killed.returncode == -signal.SIGKILL
        if exchange or new.output.exists():
            assert release(new.output) in (old_release, new_release), f"killed at {die}"
        done = in_process(new, exchange=exchange)
        assert done.returncode == 0, done.stderr
        assert release(new.output) == new_release
        left = sorted(path.name for path in new.output.parent.iterdir())
        assert left == ["bundle", "stack.lock", "stack.yml"], f"killed at {die}"


def test_a_failed_build_leaves_the_old_bundle_and_no_rest(
    site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    first = silent(made)
    made.stack_file.write_text(made.stack_file.read_text() + "# changed\n")

    def fails(*_: object) -> None:
        raise LandbridgeError("as it happens")

    with monkeypatch.context() as patch:
        patch.setattr("landbridge.bundle.build._describe", fails)
        with pytest.raises(LandbridgeError, match="as it happens"):
            silent(made)
    assert release(made.output) == first.release
    left = sorted(path.name for path in made.output.parent.iterdir())
    assert left == ["bundle", "stack.lock", "stack.yml"]


def test_two_builds_into_one_folder_exclude_each_other(site, tmp_path: Path) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    with exclusive(made.output, "another build"):
        done = in_process(made)
    assert done.returncode == 1
    assert f"{made.output}: another build is at work on it" in done.stderr
    assert silent(made).changed


# A filesystem of 1 MiB of its own, filled up but for a few KiB; then with room.
ON_SMALL_DISK = """
set -e
mount -t tmpfs -o size=1m tmpfs "$1"
mkdir "$1/cache" "$1/work"
head -c $((1024 * 1024 - $2 * 1024)) /dev/zero > "$1/filler" || true
shift 2
if "$@"; then echo "it was to fail" >&2; exit 2; fi
rm "$SMALL/filler"
"$@"
"""


@pytest.mark.parametrize("small", ["cache", "work"])
def test_a_full_disk_is_named_and_the_next_build_goes_on(site, tmp_path: Path, small: str) -> None:
    """What need_space reckons may be taken by others meanwhile; here it is told nothing is."""
    made = options(site, tmp_path / "stack", tmp_path / "other/cache")
    disk = tmp_path / "small"
    disk.mkdir()
    places = {"cache": disk / "cache", "work": tmp_path / "work"}
    if small == "work":
        places = {"cache": tmp_path / "cache", "work": disk / "work"}
    job = {
        "options": {
            "stack_file": str(made.stack_file),
            "sources": str(made.sources),
            "output": str(places["work"] / "bundle"),
            "cache": str(places["cache"]),
        },
        "events": [],
        "die": 0,
        "exchange": True,
    }
    blind = "import landbridge.files as f; f.need_space = lambda *_: None\n"
    command = [sys.executable, "-c", blind + SCRIPT, json.dumps(job)]
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", ON_SMALL_DISK, "-", disk, "12", *command],
        env={**os.environ, "SMALL": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{disk}/" in done.stderr
    assert "the disk is full" in done.stderr
    assert "free some space" in done.stderr


def test_the_cache_keeps_one_record_of_each_bundle(site, tmp_path: Path) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    silent(made)
    made.stack_file.write_text(made.stack_file.read_text() + "# changed\n")
    silent(made)
    builds = Cache(made.cache).folder("builds")
    assert len([path for path in builds.rglob("*") if path.is_file()]) == 1


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """The user's keyring with one key; its path is short (see `keys`)."""
    with (
        tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as folder,
        keys(Path(folder, "home")) as made,
    ):
        made.make("builder")
        monkeypatch.setenv("GNUPGHOME", str(made.home))
        yield made


def test_a_signature_stays_while_what_it_signs_does(site, ring: Keys, tmp_path: Path) -> None:
    """Its time orders releases: a build that gives the same bytes makes nothing newer."""
    plain = options(site, tmp_path / "work", tmp_path / "cache")
    assert silent(plain).signed == ""
    made = replace(plain, sign_key=SigningKey("builder"))
    first = silent(made)
    assert first.changed, "unsigned is something else than signed"
    public = tmp_path / "public.asc"
    public.write_text(ring.public("builder"))
    verdict = verify(made.output, [public])
    assert (verdict.problems(), verdict.signature.fingerprint) == ([], first.signed)
    signatures = {path: (made.output / path).read_bytes() for path in signatures_of(made.output)}
    assert len(signatures) == 2
    (made.output / "bootstrap.sh").touch()
    second = silent(made)
    assert second.changed
    assert {p: (made.output / p).read_bytes() for p in signatures} == signatures
    assert not silent(made).changed
    # Other content, another signature.
    made.stack_file.write_text(made.stack_file.read_text() + "# changed\n")
    silent(made)
    assert (made.output / "manifest.json.asc").read_bytes() != signatures["manifest.json.asc"]
    assert verify(made.output, [public]).problems() == []


@pytest.mark.usefixtures("ring")
def test_the_command_line_builds_signs_and_splits(site, tmp_path: Path) -> None:
    made = options(site, tmp_path / "work", tmp_path / "cache")
    arguments = ["bundle", "build", made.stack_file, "--cache", made.cache, "--output", made.output]
    options_ = ["--sign-key", "builder", "--volume-size", "100K", "--json"]
    words = [str(word) for word in [*arguments, *options_]]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["release"] == release(made.output)
    assert len(result["signed"]) == 40
    volumes = sorted(Path(result["volumes"]).iterdir())
    assert Path(result["volumes"]) == tmp_path / "work/bundle.volumes"
    assert volumes
    assert all(path.stat().st_size <= 100 * 1024 for path in volumes)
    shown = CliRunner().invoke(app, words[:-3])
    assert f"signed by {result['signed']}" in shown.stdout
    assert "unchanged" in shown.stdout
    assert f"next: carry the folder {made.output}" in shown.stdout.replace("\n", " ")
