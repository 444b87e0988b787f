"""What bootstrap.sh says before it changes anything; the lab's nodes run the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

OS_RELEASE = 'ID="rhel"\nVERSION_ID="{0}.1"\nPLATFORM_ID="platform:el{0}"\nPRETTY_NAME="EL {0}"\n'


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle in a folder whose name has a space."""
    folder = tmp_path / "the bundle"
    shutil.copytree(bundle, folder)
    return folder


def bootstrap(bundle: Path, major: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it where /etc/os-release says Enterprise Linux, in a mount namespace of its own."""
    release = bundle.parent / "os-release"
    release.write_text(OS_RELEASE.format(major))
    script = 'mount --bind "$1" /etc/os-release && shift && exec "$@"'
    private = ["unshare", "--mount", "bash", "-c", script, "bash", release]
    return subprocess.run(
        [*private, bundle / "bootstrap.sh", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_says_what_would_be_done_and_changes_nothing(copy: Path) -> None:
    before = Path("/opt/landbridge").exists()
    done = bootstrap(copy, 10, "--check")
    assert done.returncode == 0, done.stderr
    assert "would build /opt/landbridge/toolkits/" in done.stdout
    assert f"would link /var/lib/landbridge/depot/current to {copy}" in done.stdout
    assert "python" not in done.stdout, "the platform's own interpreter is new enough"
    assert Path("/opt/landbridge").exists() == before


def test_an_old_platform_gets_its_interpreter_from_the_bundle(copy: Path) -> None:
    if shutil.which("python3.12", path="/usr/bin"):
        pytest.fail("this machine has /usr/bin/python3.12: the test needs one without")
    done = bootstrap(copy, 9, "--check")
    assert done.returncode == 0, done.stderr
    url = (copy / "rpm/el9-x86_64").as_uri()
    assert f"would install python3.12 from {url}" in done.stdout


def test_another_release_is_refused(copy: Path) -> None:
    done = bootstrap(copy, 8)
    assert done.returncode == 1
    assert "this node is el8-" in done.stderr
    assert "is for el9-x86_64, el10-x86_64" in done.stderr


def test_every_damaged_file_is_named(copy: Path) -> None:
    damaged = next((copy / "toolkit/wheels").glob("pip-*.whl"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    os.truncate(copy / "toolkit/requirements-3.11.txt", 3)
    next((copy / "collections").glob("ansible-*")).unlink()
    os.truncate(next((copy / "rpm/el9-x86_64/Packages").glob("hello-*")), 3)
    done = bootstrap(copy, 9)
    assert done.returncode == 1
    assert f"toolkit/wheels/{damaged.name}: sha256 differs" in done.stderr
    assert "toolkit/requirements-3.11.txt: 3 bytes instead of" in done.stderr
    assert "collections/ansible-posix-" in done.stderr
    assert "hello-1.0-1.noarch.rpm: 3 bytes instead of" in done.stderr


def test_a_folder_that_is_no_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copy(bundle / "bootstrap.sh", tmp_path / "empty")
    done = bootstrap(tmp_path / "empty", 9)
    assert done.returncode == 1
    assert "manifest.json: not readable" in done.stderr


def test_an_unknown_option_is_refused(bundle: Path) -> None:
    done = subprocess.run([bundle / "bootstrap.sh", "--now"], capture_output=True, check=False)
    assert done.returncode == 2
