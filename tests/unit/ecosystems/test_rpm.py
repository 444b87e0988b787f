from __future__ import annotations

import pytest

from landbridge.ecosystems.rpm import interpreter
from landbridge.lock import Artifact, Part, merge


def rpm(name: str, version: str) -> Artifact:
    path = f"rpm/el9-x86_64/Packages/{name}.rpm"
    common = {"url": "file:///x", "sha256": "0" * 64, "size": 1, "targets": ["el9-x86_64"]}
    return Artifact(ecosystem="rpm", name=name, version=version, path=path, **common)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ({"python3": "0:3.9.18", "python3.11": "0:3.11.9", "python3.12": "0:3.12.5"}, "python3.12"),
        ({"python3": "0:3.9.18", "python3.11": "0:3.11.9"}, "python3.11"),
        ({"python3": "0:3.12.11", "python3.12": "0:3.12.5"}, "python3"),
        ({}, "python3"),
    ],
)
def test_the_platforms_python_is_taken_when_it_is_new_enough(
    offered: dict[str, str], chosen: str
) -> None:
    part = Part([rpm(name, version) for name, version in offered.items()])
    assert interpreter(merge("s", ["el9-x86_64"], [part]), "el9-x86_64") == chosen
