"""What bootstrap.sh says before it changes anything; the lab's nodes run the rest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit import openpgp
from tests.unit.openpgp import DAY, EARLY

SCRIPT = Path(__file__).parents[3] / "src/landbridge/bundle/bootstrap.sh"
OS_RELEASE = 'ID="rhel"\nVERSION_ID="{0}.1"\nPLATFORM_ID="platform:el{0}"\nPRETTY_NAME="EL {0}"\n'
FILES = (
    "toolkit/wheels/pip-99.0-py3-none-any.whl",
    "toolkit/requirements-3.11.txt",
    "toolkit/requirements-3.12.txt",
    "toolkit/requirements-3.13.txt",
    "collections/ansible-posix-2.0.0.tar.gz",
    "rpm/keys/RPM-GPG-KEY-base",
    "rpm/el9-x86_64/Packages/hello-1.0-1.noarch.rpm",
    "rpm/el9-x86_64/repodata/repomd.xml",
)
CONTENT = {
    "format": 1,
    "release": "small-0123456789ab",
    "targets": {
        "el9-x86_64": {"rpm": "rpm/el9-x86_64", "python": "python3.12"},
        "el10-x86_64": {"rpm": None, "python": "python3"},
    },
    "rpm_keys": ["rpm/keys/RPM-GPG-KEY-base"],
    "toolkit": {"id": "ba9876543210"},
    "installed_bytes": {"toolkit": 1000},
}
SIGNED = EARLY + 100 * DAY  # while the key that lives a year did


@dataclass(frozen=True)
class Scene:
    """A bundle in a folder whose name has a space, and the files that its node has."""

    bundle: Path
    node: Path
    keys: openpgp.Keys

    def bootstrap(
        self, *options: str | Path, major: int = 10, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it where /etc and /var/lib are the node's, in a mount namespace of its own."""
        release = self.node / "etc/os-release"
        release.unlink(missing_ok=True)
        release.write_text(OS_RELEASE.format(major))
        script = 'for d in etc var/lib; do mount --bind "$1/$d" "/$d"; done; shift; exec "$@"'
        private = ["unshare", "--mount", "bash", "-ec", script, "bash", self.node]
        return subprocess.run(
            [*private, self.bundle / "bootstrap.sh", *options],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def trust(self, owner: str) -> Path:
        """Have the node trust a key."""
        file = self.node / f"etc/landbridge/keys/{owner}.asc"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.keys.public(owner))
        return file

    def sign(self, owner: str, at: int = SIGNED) -> None:
        """Describe the bundle and sign that."""
        write_manifest(self.bundle)
        self.keys.sign(owner, self.bundle / "manifest.json", at)

    def record(self, signed: int) -> None:
        """Have the node know of an earlier bundle."""
        file = self.node / "var/lib/landbridge/release.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"release": "before", "signed": signed}))


def write_manifest(bundle: Path) -> None:
    own = {"manifest.json", "manifest.json.asc"}
    found = {str(p.relative_to(bundle)): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
    files = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in found.items()
        if name not in own
    }
    (bundle / "manifest.json").write_text(json.dumps({"files": files}))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openpgp.Keys]:
    with openpgp.keys(tmp_path_factory.mktemp("k") / "h") as made:
        made.make("release")
        made.make("short", lives="1y")
        made.make("stranger")
        yield made


@pytest.fixture
def scene(tmp_path: Path, keys: openpgp.Keys) -> Scene:
    """A bundle that `release` signed, and a node that trusts this key."""
    bundle, node = tmp_path / "the bundle", tmp_path / "node"
    for name in FILES:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(b"what is in " + name.encode())
    (bundle / "content.json").write_text(json.dumps(CONTENT))
    shutil.copy(SCRIPT, bundle / "bootstrap.sh").chmod(0o755)
    (node / "var/lib").mkdir(parents=True)
    subprocess.run(["cp", "-a", "/etc", node / "etc"], check=True)
    made = Scene(bundle, node, keys)
    made.sign("release")
    made.trust("release")
    return made


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout
    assert "checked:" not in done.stdout
    return done.stderr


def test_check_says_what_would_be_done_and_changes_nothing(scene: Scene) -> None:
    before = Path("/opt/landbridge").exists()
    done = scene.bootstrap("--check")
    assert done.returncode == 0, done.stderr
    assert "would build /opt/landbridge/toolkits/ba9876543210" in done.stdout
    assert f"would link /var/lib/landbridge/depot/current to {scene.bundle}" in done.stdout
    record = {"release": "small-0123456789ab", "signed": SIGNED}
    assert f"would record {json.dumps(record)}" in done.stdout
    assert "would trust" not in done.stdout
    assert "python" not in done.stdout, "the platform's own interpreter is new enough"
    assert Path("/opt/landbridge").exists() == before
    assert list((scene.node / "var/lib").iterdir()) == []


def test_an_old_platform_gets_its_interpreter_from_the_bundle(scene: Scene) -> None:
    if shutil.which("python3.12", path="/usr/bin"):
        pytest.fail("this machine has /usr/bin/python3.12: the test needs one without")
    done = scene.bootstrap("--check", major=9)
    assert done.returncode == 0, done.stderr
    url = (scene.bundle / "rpm/el9-x86_64").as_uri()
    assert f"would install python3.12 from {url}" in done.stdout


def test_another_release_is_refused(scene: Scene) -> None:
    said = refused(scene.bootstrap(major=8))
    assert "this node is el8-" in said
    assert "is for el9-x86_64, el10-x86_64" in said


def test_every_damaged_file_is_named(scene: Scene) -> None:
    wheel, bundle = FILES[0], scene.bundle
    (bundle / wheel).write_bytes((bundle / wheel).read_bytes()[:-1] + b"x")
    os.truncate(bundle / "toolkit/requirements-3.11.txt", 3)
    (bundle / "collections/ansible-posix-2.0.0.tar.gz").unlink()
    os.truncate(bundle / "rpm/el9-x86_64/Packages/hello-1.0-1.noarch.rpm", 3)
    said = refused(scene.bootstrap(major=9))
    assert f"{wheel}: sha256 differs" in said
    assert "toolkit/requirements-3.11.txt: 3 bytes instead of" in said
    assert "collections/ansible-posix-2.0.0.tar.gz: missing" in said
    assert "hello-1.0-1.noarch.rpm: 3 bytes instead of" in said


def test_a_folder_that_is_no_bundle_is_refused(scene: Scene) -> None:
    for name in ("manifest.json", "manifest.json.asc", "content.json"):
        (scene.bundle / name).unlink()
    assert "manifest.json: not readable" in refused(scene.bootstrap())


def test_an_unknown_option_is_refused() -> None:
    for options in (["--now"], ["--check", "more"], ["--trust-key"]):
        done = subprocess.run(["bash", SCRIPT, *options], capture_output=True, check=False)
        assert done.returncode in (1, 2), options
        assert done.stderr


# --- signatures ------------------------------------------------------------------------------


def test_an_unsigned_bundle_is_refused_unless_allowed(scene: Scene) -> None:
    (scene.bundle / "manifest.json.asc").unlink()
    said = refused(scene.bootstrap("--check"))
    assert "manifest.json.asc: missing" in said
    assert "--allow-unsigned" in said
    done = scene.bootstrap("--check", "--allow-unsigned")
    assert done.returncode == 0, done.stderr
    assert '"signed": 0}' in done.stdout


def test_a_tampered_manifest_is_refused(scene: Scene) -> None:
    manifest = scene.bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"}", b" }", 1))
    said = refused(scene.bootstrap("--check"))
    assert 'the signature is bad (gpgv: BAD signature from "release")' in said


def test_a_damaged_signature_is_refused(scene: Scene) -> None:
    (scene.bundle / "manifest.json.asc").write_text("no signature\n")
    assert "the signature is bad" in refused(scene.bootstrap("--check"))


def test_a_signature_of_a_text_is_refused(scene: Scene) -> None:
    scene.keys.sign("release", scene.bundle / "manifest.json", SIGNED, "--textmode")
    assert "the signature is bad" in refused(scene.bootstrap("--check"))


def test_an_unknown_key_is_refused_until_it_is_trusted(scene: Scene, tmp_path: Path) -> None:
    scene.sign("stranger")
    said = refused(scene.bootstrap("--check"))
    assert re.search(r"signed by key [0-9A-F]{40}, none of the 1 trusted ones", said)
    assert "--trust-key FILE" in said
    key = tmp_path / "stranger.asc"
    key.write_text(scene.keys.public("stranger"))
    done = scene.bootstrap("--check", "--trust-key", key)
    assert done.returncode == 0, done.stderr
    assert "would trust /etc/landbridge/keys/" in done.stdout


def test_a_node_without_any_key_refuses(scene: Scene) -> None:
    scene.trust("release").unlink()
    assert "none of the 0 trusted ones" in refused(scene.bootstrap("--check"))


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_several_keys_come_from_standard_input(scene: Scene, name: str) -> None:
    scene.sign("stranger")
    texts = [scene.keys.public(owner) for owner in ("short", "stranger")]
    stream = "a comment\n" + "\n".join(texts).replace("\n", "\r\n")
    done = scene.bootstrap("--check", "--trust-key", name, stdin=stream)
    assert done.returncode == 0, done.stderr
    for text in texts:
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        assert f"would trust /etc/landbridge/keys/{digest}.asc" in done.stdout


def test_a_key_that_is_there_already_is_not_announced(scene: Scene) -> None:
    text = scene.keys.public("release")
    old = scene.node / "etc/landbridge/keys/release.asc"
    old.rename(old.with_name(hashlib.sha256(text.encode()).hexdigest()[:16] + ".asc"))
    done = scene.bootstrap("--check", "--trust-key", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    assert "would trust" not in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\niQ==\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ],
)
def test_what_is_no_public_key_is_refused(scene: Scene, text: str) -> None:
    said = refused(scene.bootstrap("--check", "--trust-key", "-", stdin=text))
    assert "--trust-key -: " in said
    assert "public key" in said
    assert "Traceback" not in said


def test_a_key_file_that_is_missing_is_named(scene: Scene) -> None:
    said = refused(scene.bootstrap("--check", "--trust-key", "/nowhere/key.asc"))
    assert "--trust-key /nowhere/key.asc: " in said
    assert "No such file" in said


def test_a_broken_key_of_the_node_is_named(scene: Scene) -> None:
    scene.trust("release").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!\n")
    assert "none of the 0 trusted ones" in refused(scene.bootstrap("--check"))


def test_what_a_key_signed_before_it_expired_is_good(scene: Scene) -> None:
    scene.trust("short")
    scene.sign("short", SIGNED)
    done = scene.bootstrap("--check")
    assert done.returncode == 0, done.stderr


# --- order -----------------------------------------------------------------------------------


def test_an_older_release_is_refused_unless_allowed(scene: Scene) -> None:
    scene.record(SIGNED + 1)
    said = refused(scene.bootstrap("--check"))
    assert "the bundle was signed 2020-04-10 00:00:00 UTC, before before" in said
    assert "--allow-downgrade" in said
    done = scene.bootstrap("--check", "--allow-downgrade")
    assert done.returncode == 0, done.stderr
    assert f'"signed": {SIGNED}}}' in done.stdout


def test_an_unsigned_bundle_leaves_the_order_as_it_is(scene: Scene) -> None:
    scene.record(SIGNED + 1)
    done = scene.bootstrap("--check", "--allow-unsigned")
    assert done.returncode == 0, done.stderr
    assert f'"signed": {SIGNED + 1}}}' in done.stdout


def test_a_broken_record_is_named(scene: Scene) -> None:
    scene.record(0)
    (scene.node / "var/lib/landbridge/release.json").write_text("{}")
    assert "release.json: not readable" in refused(scene.bootstrap("--check"))


def test_a_depots_own_link_is_left_alone(scene: Scene) -> None:
    depot = scene.node / "var/lib/landbridge/depot"
    (depot / "releases").mkdir(parents=True)
    bundle = depot / "releases/small-0123456789ab"
    shutil.copytree(scene.bundle, bundle)
    (depot / "current").symlink_to("releases/small-0123456789ab")
    seen = Path("/var/lib/landbridge/depot")  # as the node sees it
    there = Scene(seen / "current", scene.node, scene.keys).bootstrap("--check")
    assert there.returncode == 0, there.stderr
    assert "depot/current to" not in there.stdout
    done = Scene(seen / "releases" / bundle.name, scene.node, scene.keys).bootstrap("--check")
    assert "depot/current to" not in done.stdout
    assert "depot/current to" in scene.bootstrap("--check").stdout


@pytest.mark.parametrize("name", ["collections/evil-1.0.0.tar.gz", "toolkit/wheels/pip-99-x.whl"])
def test_files_beside_the_manifest_are_refused(scene: Scene, name: str) -> None:
    """pip and ansible-galaxy would install them with the others."""
    scene.bundle.joinpath(name).write_bytes(b"somebody else's")
    assert f"{name}: not in the manifest" in refused(scene.bootstrap("--check"))
