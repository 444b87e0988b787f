"""A node takes what a trusted key signed, in the order in which it was signed, and nothing else."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, LabNode, linked, replace, run
from tests.lab import bundle as lab_bundle
from tests.lab import nodes, paths

pytestmark = pytest.mark.usefixtures("mitogen")

DEPOT = nodes.BUNDLE_MOUNT
KEYS = "/etc/landbridge/keys"
REPOMD = "rpm/el9-x86_64/repodata/repomd.xml"
PREFLIGHT = ("--tags", "preflight")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secret key of somebody whom no node knows."""
    folder = tmp_path_factory.mktemp("s")
    home = folder / "h"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--pinentry-mode=loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "stranger", "rsa3072", "sign"], check=True)
    export = ["--armor", "--output", folder / "secret.asc", "--export-secret-keys"]
    subprocess.run([*gpg, *export], check=True)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    return folder / "secret.asc"


def sign(bundle: Path, key: Path, *clock: str) -> None:
    """Sign a copy of a bundle anew, by another clock if one is given."""
    for name in ("manifest.json", REPOMD):
        (bundle / f"{name}.asc").unlink()
    ended = run(*clock, BIN / "landbridge", "bundle", "sign", bundle, "--sign-key", key)
    assert ended.code == 0, ended.output


@pytest.fixture(scope="module")
def bundles(bundle: Path, stranger: Path) -> Path:
    """The same bundle with every kind of signature, on the bundle's own filesystem."""
    folder = paths.cache() / "signature-bundles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    linked(bundle, folder / "signed")
    (linked(bundle, folder / "unsigned") / "manifest.json.asc").unlink()
    manifest = linked(bundle, folder / "tampered") / "manifest.json"
    replace(manifest, manifest.read_bytes() + b" ")
    sign(linked(bundle, folder / "strange"), stranger)
    sign(linked(bundle, folder / "newer"), lab_bundle.secret_key(), "faketime", "-f", "+1d")
    return folder


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundles: Path) -> LabNode:
    """An EL9-like node that holds nothing but bundles."""
    return boot("signatures", "el9", bundles)


REFUSED = [
    ("unsigned", "manifest.json.asc"),
    ("tampered", "BAD signature"),
    ("strange", "none of the 1 trusted"),
]


@pytest.mark.parametrize(("depot", "said"), REFUSED)
def test_apply_refuses_before_anything_is_touched(node: LabNode, depot: str, said: str) -> None:
    ended = node.apply(depot=f"{DEPOT}/{depot}")
    assert ended.code not in (0, 2)
    assert said in ended.output
    assert "mend: " in ended.output
    node.assert_untouched()


@pytest.mark.parametrize(("depot", "said"), REFUSED)
def test_bootstrap_refuses_before_anything_is_touched(node: LabNode, depot: str, said: str) -> None:
    ended = node.bootstrap(f"{DEPOT}/{depot}")
    assert ended.code == 1
    assert said in ended.output
    node.assert_untouched()


def test_an_unsigned_bundle_passes_where_signatures_are_ignored(node: LabNode) -> None:
    ignored = ("-e", "landbridge_signature=ignored")
    ended = node.apply(*PREFLIGHT, *ignored, depot=f"{DEPOT}/unsigned")
    assert ended.code == 0, ended.output
    by_hand = node.run(f"{DEPOT}/unsigned/bootstrap.sh --check --allow-unsigned")
    assert by_hand.code == 0, by_hand.output
    node.assert_untouched()


def test_an_older_release_is_refused_unless_allowed(node: LabNode) -> None:
    first = node.bootstrap(f"{DEPOT}/newer")
    assert first.code == 0, first.output
    recorded = json.loads(node.run("cat /var/lib/landbridge/release.json").output)
    for ended in (
        node.run(f"{DEPOT}/signed/bootstrap.sh"),
        node.apply(*PREFLIGHT, depot=f"{DEPOT}/signed"),
    ):
        assert ended.code != 0
        assert f"before {recorded['release']}, which this node has had" in ended.output
    assert json.loads(node.run("cat /var/lib/landbridge/release.json").output) == recorded
    allowed = ("-e", "landbridge_allow_downgrade=true")
    ended = node.apply(*PREFLIGHT, *allowed, depot=f"{DEPOT}/signed")
    assert ended.code == 0, ended.output
    by_hand = node.run(f"{DEPOT}/signed/bootstrap.sh --allow-downgrade")
    assert by_hand.code == 0, by_hand.output
    now = json.loads(node.run("cat /var/lib/landbridge/release.json").output)
    assert now["signed"] < recorded["signed"]


def test_keys_of_the_inventory_are_the_only_ones(node: LabNode) -> None:
    (own,) = node.run(f"ls {KEYS}").output.split()
    assert node.run(f"sed s/a/b/ {KEYS}/{own} > {KEYS}/other.asc").code == 0
    ended = node.apply("--tags", "repositories", depot=f"{DEPOT}/signed")
    assert ended.code == 0, ended.output
    assert node.run(f"ls {KEYS}").output.split() == [own]


def test_dnf_refuses_metadata_that_another_key_signed(node: LabNode) -> None:
    fresh = "dnf -y --setopt=cachedir=/tmp/fresh"
    good = node.run(f"{fresh} makecache")
    assert good.code == 0, good.output
    url = f"file://{DEPOT}/strange/rpm/el9-x86_64"
    ended = node.run(f"{fresh} --setopt=landbridge.baseurl={url} makecache")
    assert ended.code != 0
    assert "GPG signature verification error" in ended.output
