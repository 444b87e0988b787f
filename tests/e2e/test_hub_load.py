"""A class of fifty logs in at once, on a node with two processors: each gets a server of their own.

The tests are one story: the servers that the first one starts are stopped by the last one.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, LabNode, must, run
from tests.lab import nodes
from tests.lab.hub_users import HubUser, all_start

NAMES = [f"pupil{number:02}" for number in range(50)]
MAKE_USERS = """
for number in $(seq -w 0 49); do
  useradd -m -G landbridge-users pupil$number
  echo "pupil$number:pupil$number's own"
done | chpasswd
"""


def units(node: LabNode) -> list[str]:
    """The servers that run."""
    listing = "systemctl list-units --plain --no-legend --state=active 'jupyter-*'"
    return [line.split()[0] for line in must(node.run(listing)).splitlines()]


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundle: Path, hub_image: str) -> LabNode:
    """A hub with fifty accounts."""
    made = boot("hub-load", "el10", bundle, hub_image)
    must(made.run(MAKE_USERS))
    return made


@pytest.fixture(scope="module")
def url(node: LabNode) -> Iterator[str]:
    """The hub, through a tunnel."""
    with nodes.forwarded(node.name, 8000) as port:
        yield f"http://127.0.0.1:{port}"


def test_fifty_start_at_once_and_each_has_their_own(node: LabNode, url: str) -> None:
    async def story() -> None:
        pupils = [HubUser(url, name, f"{name}'s own") for name in NAMES]
        await all_start(pupils)
        assert sorted(units(node)) == [f"jupyter-{name}-singleuser.service" for name in NAMES]
        assert all(await asyncio.gather(*(pupil.opens(pupil.name) for pupil in pupils)))
        neighbours = zip(pupils, NAMES[1:] + NAMES[:1], strict=True)
        assert not any(await asyncio.gather(*(pupil.opens(other) for pupil, other in neighbours)))

    asyncio.run(story())


def test_every_server_is_its_users(node: LabNode) -> None:
    shown = must(node.run("ps -eo user:32,args | grep '[j]upyterhub-singleuser'"))
    assert sorted(line.split()[0] for line in shown.splitlines()) == NAMES


def test_maintenance_stops_all_of_them(node: LabNode) -> None:
    command = [BIN / "landbridge", "drain", "--inventory", node.inventory(), "--json", "--now"]
    output = must(run(*command))
    told = json.loads(output[output.index("{\n") :])["nodes"][node.name]
    assert sorted(one["user"] for one in told["stopped"]) == NAMES
    assert units(node) == []
