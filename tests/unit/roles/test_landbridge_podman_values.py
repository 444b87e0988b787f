"""Module landbridge_podman_values, with the real systemd-analyze and a routing table of a file."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load
from tests.unit.roles.oci_layout import write_layout

# Address and mask as the kernel prints them on a little-endian machine.
TABLE = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010010AC\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000320A\t010010AC\t0003\t0\t0\t100\t0000FFFF\t0\t0\t0
podman0\t0000C80A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
br0\t0001C80A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.fixture
def values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    """The module on a node with a bridge for containers and a bridge to a real network."""
    module = load("podman", "landbridge_podman_values")
    routes = tmp_path / "route"
    routes.write_text(TABLE)
    for port in ("podman0/brif/veth0", "podman0/brif/veth1", "br0/brif/veth9", "br0/brif/eno1"):
        (tmp_path / port).mkdir(parents=True)
    monkeypatch.setattr(module, "ROUTES", routes)
    monkeypatch.setattr(module, "DEVICES", tmp_path)
    return Runner(module, capsys)


def pool(base: str, size: int = 24) -> dict[str, Any]:
    return {"base": base, "size": size}


def test_free_pools_and_calendars_are_right(values: Runner) -> None:
    answer = values(
        calendars={"one": "Mon 03:00", "other": ""},
        address_pools=[pool("10.201.0.0/16"), pool("192.168.7.0/24")],
    )
    assert answer["problems"] == []
    assert answer["changed"] is False


def test_what_podman_has_cut_already_is_no_clash(values: Runner) -> None:
    assert values(address_pools=[pool("10.200.0.0/24", 26)])["problems"] == []


@pytest.mark.parametrize(("base", "device"), [("10.50.8.0/24", "eth0"), ("10.200.0.0/16", "br0")])
def test_a_network_behind_a_router_or_a_real_bridge_clashes(
    values: Runner, base: str, device: str
) -> None:
    (problem,) = values(address_pools=[pool(base)])["problems"]
    assert base in problem
    assert f"through {device};" in problem


def test_images_must_be_in_their_layout(values: Runner, tmp_path: Path) -> None:
    one, other = write_layout(tmp_path, one=b"1", other=b"2")
    given = {"layout": str(tmp_path)}
    assert values(**given, images=[one, other])["problems"] == []
    moved, unknown = {**one, "digest": other["digest"]}, {**one, "name": "localhost/no:1"}
    first, second = values(**given, images=[moved, unknown])["problems"]
    assert first.startswith(f"podman_images has {one['name']} with {other['digest']}")
    assert f"has {one['digest']}: name what is there" in first
    assert "no image of that name" in second
    (problem,) = values(layout="/no/layout", images=[one])["problems"]
    assert problem.startswith("podman_images_layout is /no/layout, which is no OCI layout")
    assert values(layout="/no/layout", images=[])["problems"] == []


def test_every_problem_is_named_at_once(values: Runner) -> None:
    answer = values(
        calendars={"podman_prune_calendar": "never ever"},
        address_pools=[pool("nonsense"), pool("10.201.0.0/16", 8)],
    )
    assert answer["failed"] is True
    assert len(answer["problems"]) == 3
    assert answer["msg"].splitlines() == answer["problems"]
