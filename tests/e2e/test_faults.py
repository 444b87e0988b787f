"""Every fault has one clear message and leaves nothing half-installed; after the mend it works."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, LabNode, linked, replace, run
from tests.lab import bundle as lab_bundle
from tests.lab import nodes, paths

pytestmark = pytest.mark.usefixtures("mitogen")

DEPOT = nodes.BUNDLE_MOUNT


def large_wheel(bundle: Path) -> Path:
    return max((bundle / "toolkit" / "wheels").glob("*.whl"), key=lambda p: p.stat().st_size)


@pytest.fixture(scope="module")
def bundles(bundle: Path) -> Path:
    """A whole bundle and damaged ones, side by side, on the bundle's own filesystem."""
    folder = paths.cache() / "fault-bundles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    linked(bundle, folder / "whole")
    wheel = large_wheel(linked(bundle, folder / "truncated"))
    replace(wheel, wheel.read_bytes()[:-1000])
    content = linked(bundle, folder / "el10-only") / "content.json"
    only = json.loads(content.read_text())
    del only["targets"]["el9-x86_64"]
    replace(content, json.dumps(only).encode())
    content = linked(bundle, folder / "aarch64") / "content.json"
    other = json.loads(content.read_text())
    other["targets"] = {"el9-aarch64": other["targets"]["el9-x86_64"]}
    replace(content, json.dumps(other).encode())
    return folder


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundles: Path) -> LabNode:
    """An EL9-like node that holds nothing but bundles."""
    return boot("faults", "el9", bundles)


@pytest.mark.parametrize(
    ("depot", "said"),
    [
        ("nowhere", "there is no bundle at"),
        ("truncated", "of another size: toolkit/wheels/"),
        ("el10-only", "this node is el9-x86_64, the bundle is for el10-x86_64"),
        ("aarch64", "this node is el9-x86_64, the bundle is for el9-aarch64"),
    ],
)
def test_apply_refuses_before_anything_is_touched(node: LabNode, depot: str, said: str) -> None:
    ended = node.apply(depot=f"{DEPOT}/{depot}")
    assert ended.code not in (0, 2)
    assert said in ended.output
    assert "mend: " in ended.output
    node.assert_untouched()


@pytest.mark.parametrize(
    ("depot", "said"),
    [("truncated", ".whl"), ("el10-only", "el10-x86_64"), ("aarch64", "el9-aarch64")],
)
def test_bootstrap_refuses_before_anything_is_touched(node: LabNode, depot: str, said: str) -> None:
    ended = node.bootstrap(f"{DEPOT}/{depot}")
    assert ended.code != 0
    assert said in ended.output
    node.assert_untouched()


def test_check_mode_names_a_package_that_the_bundle_lacks(node: LabNode) -> None:
    file = node.folder / "lacking.json"
    file.write_text(json.dumps({"podman_extra_packages": ["no-such-package"]}))
    options = ("--check", "--tags", "repositories,podman", "--extra-vars", f"@{file}")
    ended = node.apply(*options, depot=f"{DEPOT}/whole")
    assert ended.code != 0
    assert "no-such-package" in ended.output
    node.assert_untouched()


def test_a_full_disk_is_found_before_anything_is_put_on_it(node: LabNode) -> None:
    assert node.run("mount -t tmpfs -o size=40m tmpfs /opt").code == 0
    try:
        by_hand = node.bootstrap(f"{DEPOT}/whole")
        over_ssh = node.apply(depot=f"{DEPOT}/whole")
        inside = node.run("ls -A /opt").output
    finally:
        assert node.run("umount /opt").code == 0
    assert by_hand.code != 0
    assert "/opt" in by_hand.output
    assert over_ssh.code not in (0, 2)
    assert "the filesystem of /opt has" in over_ssh.output
    assert not inside
    node.assert_untouched()


def test_after_the_mend_the_same_node_bootstraps(node: LabNode) -> None:
    ended = node.bootstrap(f"{DEPOT}/whole")
    assert ended.code == 0, ended.output
    assert "landbridge apply" in ended.output.strip().splitlines()[-1]
    again = node.run(f"{DEPOT}/whole/bootstrap.sh")
    assert again.code == 0
    assert "unchanged" in again.output
    preflight = node.run("cd /tmp && landbridge apply --tags preflight")
    assert preflight.code == 0, preflight.output


def test_an_unreachable_node_is_named(node: LabNode) -> None:
    inventory = node.inventory()
    text = inventory.read_text().replace("ansible_port: 22", "ansible_port: 1")
    # A connection that ssh keeps open would lead to the node all the same.
    inventory.write_text(re.sub(r"ControlPath=\S+", "ControlPath=none", text))
    ended = run(BIN / "landbridge", "apply", "--inventory", inventory)
    assert ended.code == 4
    assert node.name in ended.output
    assert "unreachable" in ended.output.lower()


def test_verify_names_the_truncated_file(bundles: Path) -> None:
    verify = (BIN / "landbridge", "bundle", "verify", "--key", lab_bundle.public_key())
    ended = run(*verify, bundles / "truncated")
    assert ended.code == 1
    assert str(large_wheel(bundles / "whole").relative_to(bundles / "whole")) in ended.output
    assert run(*verify, bundles / "whole").code == 0


def test_a_wrong_key_is_named_with_its_line(tmp_path: Path) -> None:
    stack = tmp_path / "stack.yml"
    stack.write_text("name: x\ntargets: [el9-x86_64]\nrpm:\n  pakages: [podman]\n")
    ended = run(BIN / "landbridge", "bundle", "build", stack, "--output", tmp_path / "bundle")
    assert ended.code == 2
    assert f"{stack}:4: unknown key 'rpm.pakages'" in ended.output
    assert not (tmp_path / "bundle").exists()
