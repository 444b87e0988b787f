"""renv.lock files as projects have them, and as nobody should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landbridge import renv
from landbridge.errors import InputError

GLUE = {
    "Package": "glue",
    "Version": "1.7.0",
    "Source": "Repository",
    "Repository": "CRAN",
    "Requirements": ["R", "methods"],
    "Hash": "e0b3a53876554bd45879e596cdb10a52",
}


def write(folder: Path, packages: Any, **more: Any) -> Path:
    path = folder / "renv.lock"
    data = {"R": {"Version": "4.3.1", "Repositories": []}, "Packages": packages, **more}
    path.write_text(json.dumps(data))
    return path


def test_what_a_project_pins_is_read(tmp_path: Path) -> None:
    mass = {"Package": "MASS", "Version": "7.3-60", "Source": "Repository", "Repository": "RSPM"}
    old = {"Package": "R6", "Version": "2.5.1", "Source": "CRAN"}
    path = write(tmp_path, {"glue": GLUE, "MASS": mass, "R6": old}, Bioconductor={"Version": "3"})
    assert renv.pins(path) == ["MASS ==7.3-60", "R6 ==2.5.1", "glue ==1.7.0"]


def test_a_project_without_packages_pins_nothing(tmp_path: Path) -> None:
    assert renv.pins(write(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({**GLUE, "Source": "GitHub", "RemoteUsername": "tidyverse"}, "Source: GitHub"),
        ({**GLUE, "Source": "Bioconductor"}, "Source: Bioconductor"),
        ({**GLUE, "Source": "Local", "RemoteUrl": "/home/x"}, "Source: Local"),
        ({**GLUE, "Source": "unknown"}, "Source: unknown"),
        ({**GLUE, "Source": ["Repository"]}, "Source: "),
        ({**GLUE, "Source": None}, "Source: null"),
        ({**GLUE, "Repository": "BioCsoft 3.17"}, "Repository: BioCsoft 3.17"),
        ({**GLUE, "Package": "../../etc/passwd"}, "Package: ../../etc/passwd"),
        ({**GLUE, "Package": "R6"}, "Package: R6"),
        ({**GLUE, "Package": 7}, "Package: 7"),
        ({**GLUE, "Version": "1.7.0/../../x"}, "Version: 1.7.0/../../x"),
        ({**GLUE, "Version": "1.7\n2"}, "Version: 1.7?2"),
        ({**GLUE, "Version": 1.7}, "Version: 1.7"),
        ({**GLUE, "Version": "\u001b[31m" + "9" * 500}, "Version: ?[31m9"),
        ("glue", "is no record of a package"),
        (None, "is no record of a package"),
    ],
)
def test_what_cannot_be_carried_is_named_with_file_package_and_mend(
    tmp_path: Path, record: Any, fault: str
) -> None:
    path = write(tmp_path, {"glue": record})
    with pytest.raises(InputError) as caught:
        renv.pins(path, "shop/renv.lock")
    assert f"shop/renv.lock: Packages.glue: {fault}" in caught.value.message
    assert "renv::snapshot()" in caught.value.mend
    assert len(caught.value.message) < 200
    assert "\x1b" not in caught.value.message


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    github = {**GLUE, "Source": "GitHub"}
    path = write(tmp_path, {"glue": github, "R6": {**github, "Package": "R6"}, "x": GLUE})
    with pytest.raises(InputError) as caught:
        renv.pins(path)
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '"Packages"',
        '{"Packages": {}}',
        '{"R": {}, "Packages": []}',
        '{"R": "4.2", "Packages": {}}',
        "[" * 100_000,
        '{"R": {}, "Packages": {"glue": ' + "[" * 50_000,
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "renv.lock"
    path.write_text(text)
    with pytest.raises(InputError, match=r"renv\.lock"):
        renv.pins(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.projects: .*none\.lock: cannot be read"):
        renv.pins(tmp_path / "none.lock")
    with pytest.raises(InputError, match="cannot be read"):
        renv.pins(tmp_path)
    binary = tmp_path / "renv.lock"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is no JSON"):
        renv.pins(binary)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "renv.lock"
    with path.open("wb") as file:
        file.truncate(renv.LARGEST + 1)
    with pytest.raises(InputError, match="too large"):
        renv.pins(path)
