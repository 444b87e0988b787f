"""The site library of a lock as renv.lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from landbridge import renv
from landbridge.errors import InputError
from landbridge.lock import Lock
from landbridge.renv_export import renv_lock
from tests.unit.locks_of_r import MIRROR, conda_r, lock_of, r_package, rpm_r

EL9, EL10 = "el9-x86_64", "el10-x86_64"


@pytest.fixture
def lock() -> Lock:
    return lock_of(
        rpm_r("4.2.2", EL9),
        r_package("top", "1.0", Depends="R (>= 3.5)", Imports="glue (>= 1.6), methods"),
        r_package("glue", "1.7.0", targets="projects site"),
        r_package("glue", "1.5.0", targets="projects", archived=True),
        r_package("old", "0.1", targets="projects"),
    )


def test_it_holds_the_site_library_and_nothing_of_projects(lock: Lock) -> None:
    assert json.loads(renv_lock(lock)) == {
        "R": {"Version": "4.2.2", "Repositories": [{"Name": "CRAN", "URL": MIRROR}]},
        "Packages": {
            "glue": {
                "Package": "glue",
                "Version": "1.7.0",
                "Source": "Repository",
                "Repository": "CRAN",
            },
            "top": {
                "Package": "top",
                "Version": "1.0",
                "Source": "Repository",
                "Repository": "CRAN",
                "Requirements": ["R", "glue", "methods"],
            },
        },
    }


def test_what_is_written_can_be_a_project_of_a_stack(lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "renv.lock").write_text(renv_lock(lock))
    assert renv.pins(tmp_path / "renv.lock") == ["glue ==1.7.0", "top ==1.0"]


def test_the_repository_may_be_another(lock: Lock) -> None:
    data = json.loads(renv_lock(lock, repository="https://depot.example.com/cran"))
    assert data["R"]["Repositories"][0]["URL"] == "https://depot.example.com/cran"


def test_where_targets_differ_one_must_be_chosen() -> None:
    lock = lock_of(rpm_r("4.2.2", EL9), rpm_r("4.5.0", EL10), r_package("glue", "1"))
    with pytest.raises(InputError) as caught:
        renv_lock(lock)
    assert "el9-x86_64: 4.2.2; el10-x86_64: 4.5.0" in caught.value.message
    assert "--r-version" in caught.value.mend
    assert json.loads(renv_lock(lock, "4.5.0"))["R"]["Version"] == "4.5.0"
    with pytest.raises(InputError, match=r"no R 4\.4\.4 "):
        renv_lock(lock, "4.4.4")


def test_of_several_on_one_target_the_first_counts() -> None:
    package = r_package("glue", "1")
    lock = lock_of(package, provider="conda", a=conda_r("4.4.1"), b=conda_r("4.2.3"))
    assert json.loads(renv_lock(lock))["R"]["Version"] == "4.4.1"
    assert json.loads(renv_lock(lock, "4.2.3"))["R"]["Version"] == "4.2.3"


def test_a_lock_without_r_or_without_packages_is_refused() -> None:
    with pytest.raises(InputError, match="holds no R packages"):
        renv_lock(lock_of(rpm_r("4.2.2", EL9)))
    with pytest.raises(InputError, match=r"holds no R\n") as caught:
        renv_lock(lock_of(r_package("glue", "1")))
    assert "R-core" in caught.value.mend


def test_the_command_writes_to_stdout_or_to_a_file(lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "shop.lock").write_text(lock.dump())
    program = [Path(sys.executable).with_name("landbridge"), "r", "export", tmp_path / "shop.lock"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout == renv_lock(lock)
    file = tmp_path / "renv.lock"
    subprocess.run([*program, "--output", file, "--repository", "https://x/cran"], check=True)
    assert file.read_text() == renv_lock(lock, repository="https://x/cran")
    missing = [*program[:-1], tmp_path / "none.lock"]
    failed = subprocess.run(missing, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert "none.lock" in failed.stderr
