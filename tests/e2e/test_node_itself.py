"""A node that holds nothing but the bundle sets itself up from a depot of its own, without SSH.

One story: each test goes on where the one before ended.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from landbridge.bundle import manifest
from tests.e2e.conftest import BIN, Ended, LabNode, run
from tests.lab import nodes, paths, podman, releases
from tests.lab.platforms import PLATFORMS
from tests.lab.releases import Next

DEPOT = "/var/lib/landbridge/depot"
BOOTSTRAP = f"{DEPOT}/current/bootstrap.sh"
QUICK = "landbridge apply --tags preflight,repositories"
BEFORE = "which this node has had"


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundle: Path) -> LabNode:
    """An EL10-like node after its bootstrap."""
    node = boot("itself", "el10", bundle)
    ended = node.bootstrap()
    assert ended.code == 0, ended.output
    return node


@pytest.fixture(scope="module")
def old(bundle: Path) -> str:
    """The release that the node begins with."""
    return manifest.read_manifest(bundle)[0]


@pytest.fixture(scope="module")
def new(bundle: Path) -> Iterator[Next]:
    """The release after it."""
    folder = paths.cache() / "next-release"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield releases.following(bundle, folder / "bundle", PLATFORMS["el10"])
    finally:
        shutil.rmtree(folder)


def must(node: LabNode, script: str) -> Ended:
    """Run what has to go well."""
    ended = node.run(script)
    assert ended.code == 0, ended.output
    return ended


def refused(node: LabNode, script: str, said: str) -> None:
    """Run what the node has to refuse in these words."""
    ended = node.run(script)
    assert ended.code != 0
    assert said in " ".join(ended.output.split())


def listed(node: LabNode) -> dict[str, bool]:
    """The depot's releases, the newest first, and which one is current."""
    found = json.loads(must(node, "landbridge depot list --json").output)
    return {release["name"]: release["current"] for release in found}


def recorded(node: LabNode) -> str:
    """The release that was bootstrapped last."""
    return json.loads(must(node, "cat /var/lib/landbridge/release.json").output)["release"]


def dnf_sees(node: LabNode, package: str) -> bool:
    """Whether dnf would find a package, by the metadata that it has."""
    return must(node, f"dnf -q --cacheonly repoquery {package}").output.strip() != ""


def counts(output: str) -> dict[str, int]:
    """The recap of a run, printed as JSON on its last lines."""
    (found,) = json.loads(output[output.index("{") :])["hosts"].values()
    return found


def test_the_bundle_moves_into_the_depot_and_the_medium_goes(node: LabNode, old: str) -> None:
    link = f"readlink {DEPOT}/current"
    assert must(node, link).output.strip() == nodes.BUNDLE_MOUNT
    must(node, f"landbridge depot receive {nodes.BUNDLE_MOUNT}")
    must(node, f"umount {nodes.BUNDLE_MOUNT}")
    assert must(node, f"ls {nodes.BUNDLE_MOUNT}").output == ""
    assert listed(node) == {old: True}
    assert must(node, BOOTSTRAP).output.startswith("unchanged: ")
    assert must(node, link).output.strip() == f"releases/{old}"


def test_apply_from_any_directory_then_verify(node: LabNode) -> None:
    first = must(node, "cd /tmp && landbridge apply --json 2>/dev/null")
    assert counts(first.output)["changed"] > 0
    verified = node.run("cd /var && landbridge verify --json --junit /root/junit.xml 2>/dev/null")
    result = json.loads(verified.output)
    assert [c for c in result["checks"] if c["outcome"] != "passed"] == []
    assert {"conda", "jupyterhub", "network", "node", "podman", "r", "repositories"} <= {
        check["area"] for check in result["checks"]
    }
    assert verified.code == 0
    assert "<testsuite" in node.run("cat /root/junit.xml").output


def test_a_delta_brings_the_next_release(node: LabNode, old: str, new: Next) -> None:
    have, delta = new.root.with_name("have.json"), new.root.with_name("delta")
    podman.run("cp", f"{node.name}:{DEPOT}/releases/{old}/manifest.json", have)
    words = ["bundle", "delta", new.root, "--have", have, "--output", delta]
    made = run(BIN / "landbridge", *words)
    assert made.code == 0, made.output
    podman.run("cp", delta, f"{node.name}:/root/delta")
    must(node, "landbridge depot receive /root/delta && rm -r /root/delta")
    assert listed(node) == {new.release: True, old: False}
    assert not dnf_sees(node, new.added)
    assert recorded(node) == old
    must(node, BOOTSTRAP)
    assert recorded(node) == new.release
    must(node, QUICK)
    assert dnf_sees(node, new.added)


def test_nothing_goes_back_by_itself(node: LabNode, old: str, new: Next) -> None:
    refused(node, f"landbridge depot current {old}", "--allow-downgrade")
    assert listed(node) == {new.release: True, old: False}
    must(node, f"landbridge depot current {old} --allow-downgrade")
    assert listed(node) == {new.release: False, old: True}
    refused(node, BOOTSTRAP, f"before {new.release}, {BEFORE}")
    refused(node, QUICK, f"before {new.release}, {BEFORE}")
    assert recorded(node) == new.release


def test_back_to_the_release_before(node: LabNode, old: str, new: Next) -> None:
    allowed = "--tags toolkit -e landbridge_allow_downgrade=true"
    must(node, f"landbridge apply --check {allowed}")
    assert recorded(node) == new.release
    must(node, f"{BOOTSTRAP} --allow-downgrade")
    assert recorded(node) == old
    must(node, QUICK)
    assert not dnf_sees(node, new.added)
    must(node, "landbridge depot prune --keep 1")
    assert listed(node) == {new.release: False, old: True}


def test_forward_again_and_the_old_release_goes(node: LabNode, new: Next) -> None:
    must(node, f"landbridge depot current {new.release}")
    must(node, BOOTSTRAP)
    must(node, "landbridge depot prune --keep 1")
    assert listed(node) == {new.release: True}
    assert must(node, f"ls {DEPOT}/releases").output.split() == [new.release]
    assert recorded(node) == new.release


def test_another_run_changes_nothing(node: LabNode, new: Next) -> None:
    again = must(node, "cd / && landbridge apply --json 2>/dev/null")
    assert counts(again.output)["changed"] == 0
    assert dnf_sees(node, new.added)


def test_no_packet_went_outside(node: LabNode) -> None:
    assert nodes.packets(node.name) == 0
