from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from landbridge.bundle import toolkit
from landbridge.bundle.build import Options, build
from tests.unit import small_upstreams as small
from tests.unit.chosen_ecosystems import only_ecosystems


class Site(NamedTuple):
    """Small upstreams, with the stack and the sources file that use them."""

    root: Path
    stack: Path
    sources: Path


STACK = {
    "name": "small",
    "targets": ["el9-x86_64", "el10-x86_64"],
    "rpm": {"packages": ["hello"]},
    "conda": {"environments": {"base": {"packages": ["app"], "kernel": "Base"}}},
    "pypi": {"packages": ["tool"], "python": ["3.11", "3.12"]},
    "r": {"packages": ["Top"]},
    "images": [{"name": "tools/tiny:1"}],
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One repository of each kind; wheels come from a folder that pip is pointed at."""
    root = tmp_path_factory.mktemp("site")
    common = {"hello": ("1.0", "libhello"), "libhello": ("2.0",)}
    small.rpm_repository(
        root / "el9", {**common, "python3": ("3.9.18",), "python3.12": ("3.12.5",)}
    )
    small.rpm_repository(root / "el10", {**common, "python3": ("3.12.11",)})
    small.conda_package(root / "conda", "linux-64", "app", "1.0", "lib >=2", "__glibc >=2.34")
    small.conda_package(root / "conda", "linux-64", "app", "2.0", "lib >=2", "__glibc >=2.39")
    small.conda_package(root / "conda", "noarch", "lib", "2.1")
    small.index_channel(root / "conda")
    r_packages = {
        "Top": {"Version": "1.0", "Depends": "R (>= 3.5)", "Imports": "Middle,\n    utils"},
        "Middle": {"Version": "0.2-1", "LinkingTo": "Low (>= 1.0)"},
        "Low": {"Version": "1.1"},
        "Other": {"Version": "9"},
    }
    small.cran_mirror(root / "cran", r_packages)
    small.wheel(root / "wheels", "tool", "1.0", "old_backport; python_version < '3.12'")
    small.wheel(root / "wheels", "old_backport", "0.5")
    small.wheel(root / "wheels", "pip", "99.0")
    small.wheel(root / "own", "landbridge", "0.1.0", "old_backport; python_version >= '3.13'")
    with small.registry(root / "registry", "tools/tiny:1") as address:
        yield _describe(root, address)


def _describe(root: Path, address: str) -> Site:
    def repository(release: str) -> list[dict[str, str]]:
        folder = (root / release).as_uri()
        return [{"id": "base", "baseurl": f"{folder}/repo", "gpgkey": f"{folder}/RPM-GPG-KEY-test"}]

    sources = {
        "rpm": {"el9-x86_64": repository("el9"), "el10-x86_64": repository("el10")},
        "conda": {"channels": [(root / "conda").as_uri()]},
        "cran": {"url": (root / "cran").as_uri()},
        "images": {"registry": address, "insecure": True},
    }
    (root / "stack.yml").write_text(yaml.dump(STACK))
    (root / "sources.yml").write_text(yaml.dump(sources))
    return Site(root, root / "stack.yml", root / "sources.yml")


@contextmanager
def small_pip(site: Site) -> Iterator[None]:
    """pip reads the site's wheels and nothing else; our own wheel is a small one."""
    own = next((site.root / "own").iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_CONFIG_FILE", "/dev/null")
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(site.root / "wheels"))
        patch.setattr(toolkit, "_own_wheel", lambda _folder: own)
        yield


@pytest.fixture(scope="module", autouse=True)
def pip_at(site: Site) -> Iterator[None]:
    """For the tests of this folder alone: others read what the machine's pip reads."""
    with small_pip(site):
        yield


@pytest.fixture(scope="session")
def bundle(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the whole site; tests that change one take a copy."""
    output = tmp_path_factory.mktemp("built") / "bundle"
    options = Options(
        stack_file=site.stack,
        sources=site.sources,
        lock_file=output.parent / "small.lock",
        output=output,
        cache=output.parent / "cache",
    )
    # Made before the fixtures of a module are.
    with small_pip(site):
        build(options, lambda _line: None)
    return output


@pytest.fixture
def only_rpm() -> Iterator[None]:
    """RPMs and nothing else, for what concerns nothing else."""
    with only_ecosystems("rpm"):
        yield
