"""Containers of Docker's as YAML that an inventory may hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from landbridge.docker.quadlets import quadlets
from landbridge.docker.survey import parse
from tests.unit.docker.answers import answer, container, quadlet


def shown(*containers: dict[str, Any]) -> str:
    return quadlets("n1", parse("n1", answer(containers=list(containers))))


def test_entries_are_what_the_survey_says() -> None:
    web = container(quadlet=quadlet(Exec="true", Label=["a=b"]))
    text = shown(web, container("db"))
    assert yaml.safe_load(text) == {"podman_quadlets": [web["quadlet"], quadlet("db")]}


def test_needs_are_comments_above_the_entry() -> None:
    text = shown(container(needs=["word " * 40]))
    comments = [line for line in text.splitlines() if line.startswith("  # word")]
    assert len(comments) > 1
    assert text.index(comments[-1]) < text.index("- name: web")


def test_what_is_left_out_is_said() -> None:
    text = shown(container("task", quadlet={}, needs=["of swarm"]))
    assert "# Left out: task\n# of swarm\n" in text
    assert yaml.safe_load(text) == {"podman_quadlets": []}


def test_secrets_are_variables_of_a_vault() -> None:
    secret = "web-db.password,type=env,target=DB_PASSWORD"
    found = yaml.safe_load(shown(container(quadlet=quadlet(Secret=[secret]))))
    assert found["podman_secrets"] == [
        {"name": "web-db.password", "value": "{{ vault_web_db_password }}"}
    ]


# In a process of its own: there Ansible is what runs modules, not what is tested with them here.
LOAD = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.template import is_trusted_as_template
loaded = DataLoader().load_from_file(sys.argv[1], trusted_as_template=True)
argument = loaded["podman_quadlets"][0]["sections"]["Container"]["PodmanArgs"][0]
value = loaded["podman_secrets"][0]["value"]
json.dump([argument, is_trusted_as_template(argument), is_trusted_as_template(value)], sys.stdout)
"""


def test_ansible_does_not_take_dockers_texts_for_templates(tmp_path: Path) -> None:
    tag = "--log-opt=tag={{.Name}}"
    file = tmp_path / "n1.yml"
    file.write_text(
        shown(container(quadlet=quadlet(PodmanArgs=[tag], Secret=["s,type=env,target=S"])))
    )
    done = subprocess.run([sys.executable, "-c", LOAD, file], capture_output=True, check=True)
    assert json.loads(done.stdout) == [tag, False, True]
