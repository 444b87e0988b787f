"""Which of a user's own environments are kernels, and how they are started."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.roles.modules import ROLES

MANAGED = Path("/opt/landbridge/envs")


@pytest.fixture(scope="module")
def environments() -> ModuleType:
    file = ROLES / "jupyterhub/files/landbridge_user/environments.py"
    spec = importlib.util.spec_from_file_location("user_environments", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def python(prefix: Path, version: str = "3.11", kernel: bool = True) -> Path:
    """An environment with a Python."""
    program(prefix / "bin/python")
    packages = prefix / f"lib/python{version}/site-packages"
    packages.mkdir(parents=True)
    if kernel:
        (packages / "ipykernel").mkdir()
    return prefix


def venv(prefix: Path, home: str, system: str) -> Path:
    python(prefix, kernel=False)
    settings = f"home = {home}\ninclude-system-site-packages = {system}\nversion = 3.11.7\n"
    (prefix / "pyvenv.cfg").write_text(settings)
    return prefix


def names(environments: ModuleType, home: Path) -> list[str]:
    return [kernel.display_name for kernel in environments.kernels(home, MANAGED)]


def test_nothing_is_found_in_an_empty_home(environments: ModuleType, tmp_path: Path) -> None:
    assert names(environments, tmp_path / "not there") == []


def test_environments_are_found_where_the_guide_says(
    environments: ModuleType, tmp_path: Path
) -> None:
    for place in ("envs/a", ".conda/envs/b", ".virtualenvs/c", "somewhere/d"):
        python(tmp_path / place)
    listed = [tmp_path / "somewhere/d", tmp_path / "envs/a", "/gone", MANAGED / "ds/1", "", "x"]
    (tmp_path / ".conda/environments.txt").write_text("\n".join(map(str, listed)) + "\n")
    assert names(environments, tmp_path) == [
        "Python 3.11 (~/envs/a)",
        "Python 3.11 (~/.conda/envs/b)",
        "Python 3.11 (~/.virtualenvs/c)",
        "Python 3.11 (~/somewhere/d)",
    ]


def test_a_kernel_starts_in_its_environment(environments: ModuleType, tmp_path: Path) -> None:
    prefix = python(tmp_path / "envs/My env", "3.12")
    (kernel,) = environments.kernels(tmp_path, MANAGED)
    assert kernel.argv[:2] == [f"{prefix}/bin/python", "-c"]
    assert kernel.argv[3:] == ["-f", "{connection_file}"]
    assert kernel.env == {"PATH": f"{prefix}/bin:${{PATH}}", "CONDA_PREFIX": str(prefix)}
    assert kernel.display_name == "Python 3.12 (~/envs/My env)"
    assert kernel.name.startswith("own-my-env-")
    assert kernel.name.endswith("-python")


def test_a_virtual_environment_may_use_the_ipykernel_of_what_it_builds_on(
    environments: ModuleType, tmp_path: Path
) -> None:
    base = python(tmp_path / "base")
    venv(tmp_path / "envs/alone", f"{base}/bin", "false")
    both = venv(tmp_path / "envs/both", f"{base}/bin", "true")
    (kernel,) = environments.kernels(tmp_path, MANAGED)
    assert kernel.env["VIRTUAL_ENV"] == str(both)
    assert kernel.resources == f"{base}/share/jupyter/kernels/python3"


def test_two_environments_of_one_name_are_two_kernels(
    environments: ModuleType, tmp_path: Path
) -> None:
    for place in ("envs/a", ".virtualenvs/a"):
        python(tmp_path / place)
    kernels = environments.kernels(tmp_path, MANAGED)
    assert len({kernel.name for kernel in kernels}) == 2


@pytest.mark.parametrize("description", ["Package: base\nVersion: 4.4.1\n", ""])
def test_r_is_a_kernel_where_irkernel_is(
    environments: ModuleType, tmp_path: Path, description: str
) -> None:
    prefix = tmp_path / "envs/r"
    program(prefix / "bin/R")
    (prefix / "lib/R/library/base").mkdir(parents=True)
    (prefix / "lib/R/library/base/DESCRIPTION").write_text(description)
    assert names(environments, tmp_path) == []
    (prefix / "lib/R/library/IRkernel").mkdir()
    (kernel,) = environments.kernels(tmp_path, MANAGED)
    assert kernel.display_name == ("R 4.4 (~/envs/r)" if description else "R (~/envs/r)")
    assert kernel.argv[0] == f"{prefix}/bin/R"
    assert kernel.language == "R"
    # install.packages() asks the mirrors, as in the managed R.
    assert kernel.env["R_PROFILE"] == "/etc/landbridge/r/Rprofile.site"


def damage_python(prefix: Path) -> None:
    (prefix / "bin/python").unlink()
    (prefix / "bin/python").symlink_to("/nowhere/python")


def damage_settings(prefix: Path) -> None:
    (prefix / "pyvenv.cfg").mkdir()
    (prefix / "lib").rename(prefix / "lib-of-before")


def damage_library(prefix: Path) -> None:
    (prefix / "lib").rename(prefix / "moved")
    (prefix / "lib").write_text("a file")


@pytest.mark.parametrize("damage", [damage_python, damage_settings, damage_library])
def test_a_broken_environment_is_no_kernel_and_no_error(
    environments: ModuleType, tmp_path: Path, damage: Any
) -> None:
    damage(python(tmp_path / "envs/broken"))
    python(tmp_path / "envs/whole")
    (tmp_path / "envs/file").write_text("no environment")
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda/environments.txt").write_bytes(b"/\xff\xfe\n\x00\n")
    assert names(environments, tmp_path) == ["Python 3.11 (~/envs/whole)"]
