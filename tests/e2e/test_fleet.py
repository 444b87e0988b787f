"""Nodes come into an inventory when they are good, and are picked up when they were out of reach.

One story: each test goes on where the one before ended.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import BIN, Ended, LabNode, must, run
from tests.lab import inventory as inventories
from tests.lab import nodes

# A converge that takes no time.
TAGS = "preflight,repositories"

pytestmark = pytest.mark.usefixtures("mitogen")


@pytest.fixture(scope="module")
def fleet(boot: Callable[..., LabNode], bundle: Path) -> dict[str, LabNode]:
    """Two EL10-like nodes."""
    return {name: boot(name, "el10", bundle) for name in ("comes", "waits")}


@pytest.fixture(scope="module")
def inventory(fleet: dict[str, LabNode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory that knows how nodes are reached, and has none."""
    file = tmp_path_factory.mktemp("fleet") / "hosts.yml"
    one = next(iter(fleet))
    found = yaml.safe_load(inventories.write(file, [one], nodes.BUNDLE_MOUNT).read_text())["all"]
    reached = found["hosts"][one]
    del reached["ansible_host"]
    # What is in there is a node's own.
    shared = re.sub(r"ControlPath=\S+", "ControlPath=none", reached["ansible_ssh_common_args"])
    variables = {**found["vars"], **reached, "ansible_ssh_common_args": shared}
    (file.parent / "group_vars").mkdir()
    (file.parent / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    file.write_text("# Our nodes.\nall:\n  hosts:\n")
    return file


def add(inventory: Path, name: str, *words: str, later: str = "+0") -> Ended:
    """`landbridge node add`, by a clock that is so much later than the node's."""
    address = nodes.find(name).host
    command = (BIN / "landbridge", "node", "add", name, "--inventory", inventory)
    command += ("--address", address, *words)
    return run("faketime", "-f", later, *command) if later != "+0" else run(*command)


def apply(inventory: Path, *words: str) -> Ended:
    """`landbridge apply` of what the inventory has by now."""
    return run(BIN / "landbridge", "apply", "--inventory", inventory, "--tags", TAGS, *words)


def test_a_machine_that_is_not_good_is_not_added(
    fleet: dict[str, LabNode], inventory: Path
) -> None:
    before = inventory.read_text()
    node = fleet["waits"]
    must(node.run("useradd -m bare && cp -r /root/.ssh /home/bare/ && chown -R bare /home/bare"))
    nobody = add(inventory, node.name, "--var", "ansible_user=bare")
    wrong_clock = add(inventory, node.name, later="+2h")
    must(node.run("mkdir -p /opt/landbridge && mount -t tmpfs -o size=40m tmpfs /opt/landbridge"))
    full = add(inventory, node.name)
    must(node.run("umount /opt/landbridge && rmdir /opt/landbridge"))
    dark = add(inventory, node.name, "--var", "ansible_port=1")
    for ended, said in (
        (nobody, "no root by become"),
        (wrong_clock, "s behind this machine's"),
        (full, "/opt/landbridge has"),
        (dark, "cannot be reached over SSH"),
    ):
        assert ended.code == 1
        assert said in ended.output
    assert inventory.read_text() == before
    node.assert_untouched()


def test_good_machines_are_added(fleet: dict[str, LabNode], inventory: Path) -> None:
    for name in fleet:
        said = must(add(inventory, name, "--group", "compute"))
        assert f"--limit {name}" in said
    assert inventory.read_text().startswith("# Our nodes.\n")


def test_the_new_node_alone_is_converged(fleet: dict[str, LabNode], inventory: Path) -> None:
    must(apply(inventory, "--limit", "comes"))
    fleet["waits"].assert_untouched()


def test_a_node_out_of_reach_is_reported_and_picked_up(
    fleet: dict[str, LabNode], inventory: Path
) -> None:
    must(fleet["waits"].run("systemctl stop sshd.service"))
    ended = apply(inventory, "--json")
    assert ended.code == 4, ended.output[-3000:]
    result = json.loads(ended.output[ended.output.index("{") :])
    assert list(result["unreachable"]) == ["waits"]
    assert result["hosts"]["comes"]["changed"] == 0  # a second run changes nothing
    must(fleet["waits"].run("systemctl start sshd.service"))
    picked = must(apply(inventory, "--retry"))
    assert "waits: ok=" in picked
    assert "comes: ok=" not in picked
    assert "no node is left" in must(apply(inventory, "--retry"))
