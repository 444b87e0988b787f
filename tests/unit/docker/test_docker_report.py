"""A survey in words."""

from __future__ import annotations

import pytest

from landbridge.docker.report import report
from landbridge.docker.survey import parse
from landbridge.errors import NodeError
from tests.unit.docker.answers import answer, container


def text(width: int = 80, **changes: object) -> str:
    return report("n1", parse("n1", answer(**changes)), width)


def test_a_running_docker_is_summed_up_and_listed() -> None:
    shown = text(
        containers=[container(needs=["first", "second"]), container("db")],
        group=["alice"],
        images=[{"names": [], "id": "sha256:" + "ab" * 32, "size": 2_000_000, "used_by": ["db"],
                 "needs": []}],
    )  # fmt: skip
    lines = shown.splitlines()
    assert lines[0].startswith(
        "n1: Docker 27.0.0 runs, data in /var/lib/docker: 2 containers, 1 im"
    )
    web = next(number for number, line in enumerate(lines) if line.startswith("    web "))
    assert [line.strip() for line in lines[web + 1 : web + 3]] == ["- first", "- second"]
    assert lines[web + 3].split()[0] == "db"
    assert "    alice" in lines
    assert "abababababab" in shown
    assert "2 MB, used by db" in shown


def test_settings_say_what_was_taken_over_and_what_was_not() -> None:
    shown = text(
        settings={
            "file": "/etc/docker/daemon.json",
            "translated": {"log_driver": "journald", "address_pools": [{"base": "a", "size": 1}]},
            "untranslated": [
                {"key": "mtu", "value": 1400, "from": "drop-in", "needs": ["in each network"]}
            ],
            "harmless": ["live-restore"],
        }
    )
    assert "podman_log_driver        taken over: journald" in shown
    assert "[{base: a, size: 1}]" in shown
    assert "mtu                      1400 (drop-in)\n      - in each network" in shown
    assert "the same in Podman       live-restore" in shown


def test_a_stopped_docker_tells_what_lies_unseen() -> None:
    unknown = {"path": "/var/lib/docker", "images": None, "containers": 1, "volumes": 2}
    shown = text(daemon="stopped", version=None, unknown={**unknown, "needs": ["start it"]})
    assert shown.startswith("n1: Docker is stopped, data in /var/lib/docker\n")
    assert "an unknown number of images, 1 containers, 2 volumes" in shown
    assert "- start it" in shown


def test_no_docker_is_one_line() -> None:
    assert text(daemon="absent", version=None, packages=[]) == "n1: no Docker"


def test_needs_are_wrapped_and_commands_are_not_cut() -> None:
    need = "run `docker tag 0123456789ab NAME` " + "and so on " * 20
    shown = text(width=60, containers=[container(needs=[need])])
    assert max(map(len, shown.splitlines()[1:])) <= 60
    assert shown.count("- run") == 1


def test_an_answer_of_another_version_is_named() -> None:
    with pytest.raises(NodeError, match=r"n1: unexpected answer of the survey: daemon"):
        parse("n1", answer(daemon="asleep"))
