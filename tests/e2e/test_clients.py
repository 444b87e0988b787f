"""Every part of the bundle is accepted by the program that it is meant for, without a network."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, Ended
from tests.lab import bundle as lab_bundle
from tests.lab import conda_client

GLIBC = "2.34"
# In a process of its own: py-rattler may abort while the interpreter exits.
SOLVE_AND_INSTALL = f"""
import asyncio, os, sys, rattler

async def main(channel, prefix):
    virtual = [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
        )
        for name, version in (("__unix", "0"), ("__glibc", "{GLIBC}"))
    ]
    records = await rattler.solve(
        [channel], ["python", "numpy"], platforms=["linux-64", "noarch"], virtual_packages=virtual
    )
    await rattler.install(records, prefix, cache_dir=prefix + "-cache", show_progress=False)

asyncio.run(main(*sys.argv[1:]))
os._exit(0)
"""


def offline(*command: str | Path, cwd: Path | None = None, **environment: str) -> Ended:
    """Run a command in a network namespace that has nothing but a loopback that is down."""
    # No configuration of this machine: where packages come from is said on the command line.
    clean = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "LC_ALL": "C.UTF-8"}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    done = subprocess.run(
        ["unshare", "--net", *map(str, command)],
        cwd=cwd,
        env={**inherited, **clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout)


def damaged(bundle: Path, folder: Path, file: Path) -> Path:
    """A copy of the bundle, sharing its files, in which one byte of `file` is another."""
    copy = folder / "damaged"
    subprocess.run(["cp", "-al", bundle, copy], check=True)
    target = copy / file.relative_to(bundle)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.unlink()
    target.write_bytes(data)
    return copy


@pytest.fixture
def beside(bundle: Path) -> Iterator[Path]:
    """An empty folder on the bundle's filesystem."""
    folder = bundle.parent / "clients"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def dnf(root: Path, bundle: Path, *words: str) -> Ended:
    """dnf with an empty root and this one repository, checking metadata and packages."""
    keys = [*(bundle / "rpm" / "keys").iterdir(), lab_bundle.public_key()]
    options = ["--setopt=reposdir=/dev/null", "--setopt=pluginpath=/dev/null", "--releasever=9"]
    options += [f"--installroot={root}", f"--setopt=cachedir={root}/cache"]
    options += [f"--repofrompath=bundle,file://{bundle}/rpm/el9-x86_64"]
    options += ["--setopt=bundle.gpgcheck=1", "--setopt=bundle.repo_gpgcheck=1"]
    options += [f"--setopt=bundle.gpgkey={' '.join(f'file://{key}' for key in keys)}"]
    # Only tested: Debian's payload under RHEL's names is no system to be run on this machine.
    return offline("dnf", "-y", *options, "--setopt=tsflags=test", *words)


def test_dnf_checks_packages_and_metadata(bundle: Path, tmp_path: Path) -> None:
    ended = dnf(tmp_path, bundle, "install", "container-selinux")
    assert ended.code == 0, ended.output
    assert "Transaction test succeeded" in ended.output


def test_dnf_refuses_changed_metadata(bundle: Path, beside: Path, tmp_path: Path) -> None:
    copy = damaged(bundle, beside, bundle / "rpm/el9-x86_64/repodata/repomd.xml")
    ended = dnf(tmp_path, copy, "install", "container-selinux")
    assert ended.code != 0
    assert "GPG verification" in ended.output or "signature" in ended.output, ended.output


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_wheels_install_with_required_hashes(bundle: Path, tmp_path: Path, client: str) -> None:
    command = {"pip": [sys.executable, "-m", "pip"], "uv": [BIN / "uv", "pip"]}[client]
    wanted = bundle / "pypi/requirements-3.11.txt"
    options = ["--require-hashes", "--index-url", f"file://{bundle}/pypi/simple/", "--no-deps"]
    options += ["--target", tmp_path / "site", "--requirement", wanted]
    ended = offline(*command, "install", *options, UV_CACHE_DIR=str(tmp_path / "cache"))
    assert ended.code == 0, ended.output
    asked = {line.split("==")[0].replace("-", "_") for line in wanted.read_text().splitlines()}
    got = {path.name.split("-")[0].lower() for path in (tmp_path / "site").glob("*.dist-info")}
    assert {name.strip().lower() for name in asked if name and not name.startswith(" ")} <= got


def test_r_installs_with_its_own_command(bundle: Path, tmp_path: Path) -> None:
    code = f"""
    install.packages("jsonlite", lib="{tmp_path}", repos="file://{bundle}/cran", quiet=TRUE)
    library(jsonlite, lib.loc="{tmp_path}")
    cat(toJSON(1:3))
    """
    ended = offline("Rscript", "--vanilla", "-e", code)
    assert ended.code == 0, ended.output
    assert ended.output.endswith("[1,2,3]")


def test_skopeo_reads_each_image_by_digest(bundle: Path, tmp_path: Path) -> None:
    images = json.loads((bundle / "content.json").read_text())["images"]
    assert images
    for number, image in enumerate(images):
        copy = tmp_path / str(number)
        command = ["skopeo", "copy", "--preserve-digests", f"oci:{bundle}/images:{image['name']}"]
        ended = offline(*command, f"dir:{copy}")
        assert ended.code == 0, ended.output
        ended = offline("skopeo", "manifest-digest", copy / "manifest.json")
        assert ended.output.strip() == image["digest"]


def test_rattler_solves_and_installs_from_the_channel(bundle: Path, beside: Path) -> None:
    command = [sys.executable, "-c", SOLVE_AND_INSTALL, f"file://{bundle}/conda", beside / "env"]
    ended = offline(*command)
    assert ended.code == 0, ended.output
    ended = offline(beside / "env/bin/python", "-c", "import numpy; print(numpy.arange(3).sum())")
    assert ended.output == "3\n"


def test_rattler_refuses_a_changed_package(bundle: Path, beside: Path) -> None:
    package = next((bundle / "conda/linux-64").glob("numpy-*"))
    copy = damaged(bundle, beside, package)
    command = [sys.executable, "-c", SOLVE_AND_INSTALL, f"file://{copy}/conda", beside / "env"]
    ended = offline(*command)
    assert ended.code != 0
    assert "Invalid checksum" in ended.output


def test_conda_installs_an_explicit_list(bundle: Path, beside: Path) -> None:
    wanted = (bundle / "conda/envs/datascience.linux-64.txt").read_text()
    # This conda is older than the hashes that 24.9 and later read; it gets URLs alone.
    urls = [
        f"file://{bundle}/conda/{line.partition('#')[0]}" if "#" in line else line
        for line in wanted.splitlines()
        if not line.startswith("# ")
    ]
    (beside / "explicit.txt").write_text("\n".join(urls) + "\n")
    ended = offline(
        *conda_client.command(),
        *("create", "--offline", "--yes", "--prefix", beside / "env"),
        *("--file", beside / "explicit.txt"),
        CONDA_PKGS_DIRS=str(beside / "packages"),
        CONDA_NO_PLUGINS="true",
        HOME=str(beside),
    )
    assert ended.code == 0, ended.output
    ended = offline(beside / "env/bin/python", "-c", "import sklearn; print('loaded')")
    assert ended.output == "loaded\n"
