"""Verification with checks and nodes of the tests' own."""

import multiprocessing
import os
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from landbridge.checking import Check
from landbridge.content import content_root
from landbridge.errors import InputError, NodeError
from landbridge.run.command import ansible_environment
from landbridge.verify import areas, verify

OWN = ansible_environment(content_root(), Path(sys.prefix), os.environ)
CONFTEST = """
from landbridge.checking import NODES

def pytest_generate_tests(metafunc):
    if "any_node" in metafunc.fixturenames:
        metafunc.parametrize("any_node", metafunc.config.stash[NODES], ids=str)
"""


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "tests" / "host"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_node.py").write_text("def test_answers(any_node):\n    assert any_node.name\n")
    return tmp_path


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory"
    path.write_text("a ansible_connection=local\nb ansible_connection=local\n")
    return path


def add(content: Path, area: str, text: str) -> None:
    (content / "tests" / "host" / f"test_{area}.py").write_text(textwrap.dedent(text))


def test_every_check_is_host_area_name_and_outcome(content: Path, inventory: Path) -> None:
    add(content, "disk", "def test_has_room(any_node):\n    assert any_node.name == 'a', 'full'\n")
    seen: list[tuple[Check, int]] = []
    checks = verify(content, inventory, environment=OWN, seen=lambda c, n: seen.append((c, n)))
    told = [(c.host, c.area, c.name, c.outcome) for c in checks]
    assert told == [
        ("a", "disk", "has room", "passed"),
        ("a", "node", "answers", "passed"),
        ("b", "disk", "has room", "failed"),
        ("b", "node", "answers", "passed"),
    ]
    assert checks[2].message.startswith("full")
    assert [number for _, number in seen] == [4] * 4


def test_chosen_areas_come_with_the_question_whether_nodes_answer(
    content: Path, inventory: Path
) -> None:
    add(content, "disk", "def test_has_room(any_node):\n    pass\n")
    add(content, "fans", "def test_turn(any_node):\n    pass\n")
    checks = verify(content, inventory, environment=OWN, pattern="a", only=["fans"])
    assert [(c.host, c.area) for c in checks] == [("a", "node"), ("a", "fans")]


def test_a_failing_fixture_is_a_failed_check(content: Path, inventory: Path) -> None:
    add(
        content,
        "mounts",
        """
        import pytest

        @pytest.fixture
        def mount():
            yield
            raise OSError("busy")

        def test_has_room(any_node, mount):
            pass
        """,
    )
    checks = verify(content, inventory, environment=OWN, pattern="a", only=["mounts"])
    assert (checks[1].outcome, checks[1].message) == ("failed", "OSError: busy")


def test_junit_carries_the_host(content: Path, inventory: Path, tmp_path: Path) -> None:
    target = tmp_path / "reports" / "junit.xml"
    verify(content, inventory, environment=OWN, junit=target)
    cases = ET.parse(target).findall(".//testcase")  # noqa: S314 - our own file
    hosts = {p.get("value") for c in cases for p in c.iter("property") if p.get("name") == "host"}
    assert hosts == {"a", "b"}


def test_a_broken_check_file_is_an_error_not_a_pass(content: Path, inventory: Path) -> None:
    add(content, "broken", "import nothing_of_this_name\n")
    with pytest.raises(NodeError, match="nothing_of_this_name"):
        verify(content, inventory, environment=OWN)


def test_a_killed_process_is_an_error_not_a_pass(content: Path, inventory: Path) -> None:
    kill = "os.kill(os.getpid(), 9)"
    add(content, "fatal", f"import os\n\ndef test_it(any_node):\n    {kill}\n")
    with pytest.raises(NodeError, match="ended before its time"):
        verify(content, inventory, environment=OWN)


def test_nobody_is_checked_for_who_has_gone(content: Path, inventory: Path, tmp_path: Path) -> None:
    add(
        content,
        "many",
        f"""
        import time
        from pathlib import Path
        import pytest

        @pytest.mark.parametrize("number", range(400))
        def test_it(any_node, number):
            Path({str(tmp_path)!r}, f"done-{{any_node}}-{{number}}").touch()
            time.sleep(0.02)
        """,
    )

    def gone(_check: Check, _total: int) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        verify(content, inventory, environment=OWN, only=["many"], seen=gone)
    for process in multiprocessing.active_children():
        process.join()
    assert 0 < len(list(tmp_path.glob("done-*"))) < 800


def test_nodes_are_checked_at_the_same_time(content: Path, inventory: Path, tmp_path: Path) -> None:
    add(
        content,
        "meeting",
        f"""
        import time
        from pathlib import Path

        def test_the_other_comes(any_node):
            met = Path({str(tmp_path)!r})
            (met / f"met-{{any_node}}").touch()
            deadline = time.monotonic() + 60
            while len(list(met.glob("met-*"))) < 2:
                assert time.monotonic() < deadline, "alone"
                time.sleep(0.01)
        """,
    )
    checks = verify(content, inventory, environment=OWN, only=["meeting"])
    assert {check.outcome for check in checks} == {"passed"}


def test_unknown_area_and_host_are_named(content: Path, inventory: Path) -> None:
    with pytest.raises(InputError, match="no such area: disc"):
        verify(content, inventory, environment=OWN, only=["disc"])
    with pytest.raises(NodeError, match="'elsewhere'"):
        verify(content, inventory, environment=OWN, pattern="elsewhere")


def test_an_unreadable_inventory_is_an_error(content: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text("all: [")
    with pytest.raises(NodeError, match=r"broken\.yml"):
        verify(content, path, environment=OWN)


def test_the_shipped_areas() -> None:
    assert areas(content_root()) == [
        "conda",
        "containers",
        "depot",
        "docker",
        "firewall",
        "images",
        "jupyterhub",
        "login",
        "network",
        "node",
        "podman",
        "pull",
        "quadlets",
        "r",
        "registries",
        "repositories",
        "rootless",
        "selinux",
        "teams",
        "trust",
    ]
