"""What users are told, on the hub's pages and in JupyterLab; and which of it is refused."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.roles.modules import ROLES
from tests.unit.roles.validation import Validation

FILES = ROLES / "jupyterhub" / "files"
HUB = Validation("jupyterhub", {"cacheable": True}, "comforts_validate.yml")
BAD: list[tuple[str, Any, str]] = [
    ("jupyterhub_banner", "two\nlines", "one line"),
    ("jupyterhub_banner", "x" * 201, "200 characters"),
    ("jupyterhub_contact", "two\nlines", "one line"),
    ("jupyterhub_home_percent", 0, "from 1 to 100"),
    ("jupyterhub_home_percent", 101, "from 1 to 100"),
]
GOOD: dict[str, Any] = {
    "jupyterhub_banner": "CONFIDENTIAL <b>",
    "jupyterhub_contact": "help@example.org",
    "jupyterhub_home_percent": 100,
}
QUIET: dict[str, Any] = {
    "cull_idle_seconds": 0,
    "cull_kernel_seconds": 0,
    "cull_max_age_seconds": 0,
    "named_servers": 0,
    "home_percent": 90,
    "memory_limit": None,
    "cpu_limit": None,
    "profiles": [],
}
ROOM = (89, "The filesystem of your home")
# Of `quota --no-wrap --raw-grace --show-mntpoint --hide-device`.
QUOTAS = """\
Disk quotas for user alice (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
          /home  950000* 900000 1000000 1764500000    812       0       0       0
          /data    1000       0    4000       0       3       0       0       0
       /scratch    1000       0       0       0       3       0       0       0
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD, and of each row of BAD."""
    bad = [(variable, {variable: value}) for variable, value, _words in BAD]
    return HUB.judge([{}, GOOD], bad, tmp_path_factory.mktemp("validate"))


def test_defaults_and_good_values_pass(said: list[str]) -> None:
    assert said[:2] == ["", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_value_is_refused_by_name_and_with_the_mend(said: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in said[2 + row]
    assert words in said[2 + row]


@pytest.fixture(scope="module")
def telling() -> ModuleType:
    file = FILES / "landbridge_user/telling.py"
    spec = importlib.util.spec_from_file_location("user_telling", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def guidance() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FILES))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        yield importlib.import_module("landbridge_hub.guidance")
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(FILES))
        for name in [n for n in sys.modules if n.partition(".")[0] == "landbridge_hub"]:
            del sys.modules[name]


def test_who_has_nothing_to_fear_is_told_nothing(telling: ModuleType) -> None:
    assert telling.notices(QUIET, ROOM) == []


@pytest.mark.parametrize(
    ("values", "used", "words"),
    [
        ({"cull_idle_seconds": 5400}, ROOM, "for 90 minutes is stopped"),
        ({"cull_kernel_seconds": 3600}, ROOM, "after 1 hour without work"),
        ({"cull_max_age_seconds": 172800}, ROOM, "2 days after its start"),
        ({}, (90, "Your quota on /home"), "Your quota on /home is 90 % full"),
    ],
)
def test_what_holds_is_told(
    telling: ModuleType, values: dict[str, Any], used: tuple[int, str], words: str
) -> None:
    (notice,) = telling.notices(QUIET | values, used)
    assert words in notice


def test_the_fuller_of_quota_and_filesystem_counts(
    telling: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert telling.parse_quotas(QUOTAS) == [
        (105, "Your quota on /home"),
        (25, "Your quota on /data"),
    ]
    assert telling.parse_quotas("Disk quotas for user alice (uid 1000): none\n") == []
    command = tmp_path / "quota"
    # As the real one, it fails where a quota is exceeded.
    command.write_text(f"#!/bin/sh\ncat <<'EOT'\n{QUOTAS}EOT\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert telling.use_of(tmp_path) == (105, "Your quota on /home")
    command.unlink()
    percent, what = telling.use_of(tmp_path)
    assert what == "The filesystem of your home"
    assert 0 <= percent <= 100


def test_the_guide_names_what_holds(guidance: ModuleType) -> None:
    assert guidance.limits(QUIET) == ["Your server has no limit of memory, all processors."]
    profiles = [{"name": "small", "memory": "1G"}, {"name": "gpu", "devices": ["/dev/nvidia0"]}]
    values = QUIET | {"profiles": profiles, "memory_limit": "8G", "cpu_limit": 2}
    values |= {"cull_idle_seconds": 5400, "named_servers": 1}
    text = " ".join(guidance.limits(values))
    assert "small (1G of memory, 2 processors)" in text
    assert "gpu (8G of memory, 2 processors, with devices)" in text
    assert "after 1 h 30 min" in text
    assert "1 more" in text


@pytest.mark.parametrize(
    ("contact", "leads"),
    [
        ("help@example.org", "mailto:help@example.org"),
        ("https://help.example.org/x", "https://help.example.org/x"),
        ("Room 12", ""),
        ("javascript:alert(1)", ""),
        ("javascript:alert(1)//@x", ""),
        ("", ""),
    ],
)
def test_a_contact_leads_where_it_says(guidance: ModuleType, contact: str, leads: str) -> None:
    assert guidance.link(contact) == leads


def test_kernels_of_the_guide_are_those_that_can_be_read(
    guidance: ModuleType, tmp_path: Path
) -> None:
    for name, text in {"b": json.dumps({"display_name": "B"}), "a": "{", "c": "{}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.json").write_text(text)
    assert guidance.kernel_names(tmp_path) == ["B"]
