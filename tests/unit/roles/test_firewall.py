"""Role firewall: what it refuses, and what the other roles declare to listen on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.modules import ROLES
from tests.unit.roles.validation import Validation

BAD: list[tuple[str, Any, str]] = [
    ("firewall_extra", [{"port": "ssh"}], "write a port"),
    ("firewall_extra", [{"protocol": "tcp"}], "write a port"),
    ("firewall_extra", [{"port": 80, "protocol": "http"}], "protocol tcp, udp or sctp"),
    ("firewall_extra", [{"port": 80, "sources": ["intern"]}], "sources as networks"),
    ("firewall_listens", [{"port": 0}], "write a port"),
    ("firewall_extra", [{"port": "80-65536"}], "from 1 to 65535"),
    ("firewall_outbound_to", [{"to": ["10.0.0.1"], "port": 65536}], "PORT"),
    ("firewall_sources", ["example.org"], "addresses or networks"),
    ("firewall_outbound_to", [{"to": ["dns.example.org"], "port": 53}], "knows no names"),
    ("firewall_outbound_to", [{"to": ["10.0.0.1"]}], "write {to:"),
    ("firewall_outbound_to", [{"port": 53}], "write {to:"),
]
GOOD = {
    "firewall_enabled": True,
    "firewall_extra": [
        {"port": 9100, "sources": ["10.1.0.0/16", "fd00::/8"]},
        {"port": "9100-9110", "protocol": "udp"},
    ],
    "firewall_sources": ["192.0.2.1"],
    "firewall_outbound_to": [{"to": ["10.1.0.53", "fd00::53"], "port": 53, "protocol": "udp"}],
}
ROLE = Validation("firewall", {})
R_FACTS = {"landbridge": {"depot": "/depot", "target": "el10-x86_64", "r": {"provider": "rpm"}}}
RSTUDIO = {"r_rstudio_rpm": "/srv/r.rpm", "r_rstudio_address": "0.0.0.0"}
MODEL = {"name": "a", "path": "/srv/a", "port": 8100}


def rootless(**sections: Any) -> dict[str, Any]:
    """A quadlet of a user's."""
    return {"podman_quadlets": [{"name": "a", "user": "alice", "sections": sections}]}


# Role, variables, and the ports that they make it listen on.
LISTENS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("jupyterhub", {}, []),
    ("jupyterhub", {"jupyterhub_address": "0.0.0.0", "jupyterhub_port": 8443}, ["8443/tcp"]),
    ("jupyterhub", {"jupyterhub_address": "0.0.0.0", "host": "elsewhere"}, []),
    ("r", {"r_services": [MODEL]}, []),
    ("r", {"r_services": [MODEL | {"address": "10.0.0.2"}]} | RSTUDIO, ["8100/tcp", "8787/tcp"]),
    (
        "podman",
        {"podman_quadlets": [{"name": "a", "sections": {"Pod": {"PublishPort": "1:1"}}}]},
        [],
    ),
    (
        "podman",
        {"podman_quadlets": [{"name": "a", "user": "alice", "type": "kube", "yaml": ""}]},
        [],
    ),
    ("podman", rootless(Pod={"PublishPort": "8081:81/udp"}, Service={}), ["8081/udp"]),
    (
        "podman",
        rootless(Container={"PublishPort": ["8080:80", "127.0.0.1:8082:82", "0.0.0.0:83:83/tcp"]}),
        ["8080/tcp", "83/tcp"],
    ),
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD, and of each row of BAD."""
    bad = [(variable, {variable: value}) for variable, value, _words in BAD]
    return ROLE.judge([{}, GOOD], bad, tmp_path_factory.mktemp("validate"))


def test_defaults_and_good_values_pass(judged: list[str]) -> None:
    assert judged[:2] == ["", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_value_is_refused_by_name_and_with_the_mend(judged: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in judged[2 + row]
    assert words in judged[2 + row]


def test_every_variable_that_is_judged_has_a_row() -> None:
    assert ROLE.judged() - {variable for variable, *_ in BAD} == set()


def play(role: str, values: dict[str, Any], file: Path) -> dict[str, Any]:
    """A play that writes down what a role declares."""
    content = f"{{{{ {role}_listens | to_json }}}}"
    facts = {"ansible_facts": R_FACTS} if role == "r" else {}
    copy = {"ansible.builtin.copy": {"content": content, "dest": str(file), "mode": "0644"}}
    return {
        "hosts": values.get("host", "localhost"),
        "gather_facts": False,
        "vars_files": [str(ROLES / role / part / "main.yml") for part in ("defaults", "vars")],
        "tasks": [copy | {"vars": values | facts}],
    }


def test_roles_declare_what_others_are_to_reach(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.json" for number in range(len(LISTENS))]
    plays = [
        play(role, values, file) for (role, values, _), file in zip(LISTENS, files, strict=True)
    ]
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump(plays))
    (tmp_path / "ansible.cfg").write_text("")
    (tmp_path / "hosts").write_text("[all]\nlocalhost\nelsewhere\n[hub]\nlocalhost\n")
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts"]
    python = f"ansible_python_interpreter={sys.executable}"
    done = subprocess.run(
        [*command, "-c", "local", "-e", python, tmp_path / "playbook.yml"],
        env=os.environ | {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for (role, values, ports), file in zip(LISTENS, files, strict=True):
        found = [f"{entry['port']}/{entry['protocol']}" for entry in json.loads(file.read_text())]
        assert found == ports, (role, values)
