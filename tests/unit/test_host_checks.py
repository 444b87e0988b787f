"""Which host checks a node gets, from what its depot promises; the checks themselves need nodes."""

import copy
import json
from typing import Any

import pytest

from landbridge.checking import NODES
from landbridge.content import content_root
from landbridge.facts.node import Node
from tests.unit.facts.test_node import SNAPSHOT, Host

CONTENT = {
    "conda": {
        "environments": [
            {"name": "jupyterhub", "kernel": None},
            {"name": "ds", "kernel": "Py"},
            {"name": "r-4.2", "kernel": None},
        ]
    },
    "r": {"packages": [{"name": "IRkernel"}], "versions": {"el9-x86_64": ["4.2.2"]}},
    "images": [{"name": "localhost/box:1"}],
}
PYTHON, R = {"linux-64": {"python-3.11.7-0": "ab"}}, {"linux-64": {"r-base-4.2.2-0": "cd"}}
LOCKS = {"jupyterhub": PYTHON, "ds": PYTHON, "r-4.2": R}


pytestmark = pytest.mark.usefixtures("forget_checks")


class Recorder:
    def __init__(self, nodes: list[Node]) -> None:
        self.nodes, self.names = nodes, list[str]()

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[NODES] = self.nodes

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = [item.nodeid.split("::")[1] for item in session.items]


def node(
    name: str,
    packets: int | None = 0,
    content: dict[str, Any] = CONTENT,
    promised: dict[str, Any] | None = None,
) -> Node:
    """A node; `promised` is what role podman has."""
    snapshot: dict[str, Any] = copy.deepcopy(SNAPSHOT)
    snapshot["depot"] |= {"content": content, "locks": LOCKS}
    snapshot["egress_packets"] = packets
    snapshot["promises"] = {"podman": promised} if promised else {}
    made = Node(name, Host(stdout=json.dumps(snapshot)))
    made.target = "el9-x86_64"
    return made


def collected(*nodes: Node) -> list[str]:
    recorder = Recorder(list(nodes))
    folder = str(content_root() / "tests" / "host")
    options = ["--collect-only", "-p", "no:terminal", "--import-mode=importlib", folder]
    assert pytest.main(options, plugins=[recorder]) == pytest.ExitCode.OK
    return recorder.names


def test_things_of_the_bundle_become_checks_of_their_own() -> None:
    names = collected(node("n1"))
    assert "test_imports_its_packages[n1-jupyterhub]" in names
    assert "test_imports_its_packages[n1-ds]" in names
    assert "test_current_leads_to_the_locked_one[n1-r-4.2]" in names
    assert "test_imports_its_packages[n1-r-4.2]" not in names
    assert "test_image_is_the_bundles[n1-localhost/box:1]" in names
    assert [n for n in names if n.startswith("test_notebook_runs")] == [
        "test_notebook_runs[n1-Py]",
        "test_notebook_runs[n1-R 4.2 (site)]",
    ]


def test_images_are_those_that_the_inventory_asks_for() -> None:
    promise = {"images": [{"name": "localhost/other:1"}], "docker_group": ""}
    names = collected(node("n1", promised=promise))
    (name,) = (name for name in names if name.startswith("test_image_is_the_bundles"))
    assert name == "test_image_is_the_bundles[n1-localhost/other:1]"
    names = collected(node("n1", promised=promise | {"root_images": False}))
    assert not [name for name in names if name.startswith("test_image_is_the_bundles")]


def test_packets_are_counted_last_and_only_where_there_is_a_counter() -> None:
    names = collected(node("with"), node("without", packets=None))
    counting = [name for name in names if name.startswith("test_no_packet")]
    assert counting == ["test_no_packet_went_outside[with-outside]"]
    assert names[-1] == counting[0]
    assert not any("no_packet" in name for name in collected(node("without", packets=None)))


def test_a_node_that_does_not_answer_has_one_check_which_says_so() -> None:
    names = collected(Node("gone", Host(rc=255, stderr="timed out")))
    assert names == ["test_answers[gone]"]


def test_what_the_bundle_does_not_carry_is_not_checked() -> None:
    without = CONTENT | {
        "conda": {"environments": []},
        "r": {"packages": [], "versions": {}},
        "images": [],
    }
    names = collected(node("n1", content=without))
    assert "test_docker_ce_is_gone[n1]" in names
    absent = ("test_image", "test_notebook", "test_pam", "test_unit", "test_library")
    assert not [name for name in names if name.startswith(absent)]


def test_the_hub_is_checked_where_the_inventory_wants_it() -> None:
    compute = node("c1")
    compute.is_hub = False
    names = collected(node("h1"), compute)
    assert "test_pam_password_logs_in[h1]" in names
    assert "test_pam_password_logs_in[c1]" not in names
