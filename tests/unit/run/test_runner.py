"""Real runs of ansible-playbook over a local connection."""

import os
import sys
from pathlib import Path

import pytest

from landbridge.content import content_root
from landbridge.run.command import Playbook, ansible_environment
from landbridge.run.result import RunResult
from landbridge.run.runner import run_playbook

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.copy: {{content: "{content}", dest: "{dest}", mode: "0600"}}
    - name: Refuse
      ansible.builtin.fail: {{msg: not today}}
      when: refuse | default(false) | bool
"""


@pytest.fixture
def play(tmp_path: Path) -> Path:
    path = tmp_path / "play.yml"
    path.write_text(PLAY.format(content="said", dest=tmp_path / "out"))
    return path


def run(playbook: Playbook) -> tuple[RunResult, list[str]]:
    kinds: list[str] = []
    environment = ansible_environment(content_root(), Path(sys.prefix), os.environ)
    return run_playbook(playbook, environment, lambda e, _: kinds.append(e["event"])), kinds


def local(folder: Path, hosts: str = "near ansible_connection=local\n") -> Path:
    path = folder / "inventory"
    path.write_text(hosts)
    return path


def test_a_run_reports_counts_and_events(tmp_path: Path, play: Path) -> None:
    result, kinds = run(Playbook(play, local(tmp_path)))
    assert result.ok, result.report()
    assert result.hosts["near"]["changed"] == 1
    assert (tmp_path / "out").read_text() == "said"
    assert "playbook_on_stats" in kinds


def test_check_mode_changes_nothing(tmp_path: Path, play: Path) -> None:
    result, _ = run(Playbook(play, local(tmp_path), check=True, diff=True))
    assert result.hosts["near"]["changed"] == 1
    assert not (tmp_path / "out").exists()


def test_a_failing_task_and_an_unreachable_host_are_both_named(tmp_path: Path, play: Path) -> None:
    hosts = "near ansible_connection=local\nfar ansible_host=192.0.2.1 ansible_connection=ssh "
    hosts += "ansible_ssh_common_args='-o ProxyCommand=false'\n"
    result, _ = run(Playbook(play, local(tmp_path, hosts), extra_vars=("refuse=true",)))
    assert not result.ok
    assert list(result.unreachable) == ["far"]
    assert [(f.host, f.task, f.message) for f in result.failures] == [
        ("near", "Refuse", "not today")
    ]


def test_a_limit_that_matches_nothing_is_reported_in_ansibles_words(
    tmp_path: Path, play: Path
) -> None:
    result, _ = run(Playbook(play, local(tmp_path), limit="elsewhere"))
    assert not result.ok
    assert "elsewhere" in "\n".join(result.report()) or "no hosts" in "\n".join(result.report())
