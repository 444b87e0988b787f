"""What end-to-end tests share: the lab's bundle, nodes, and the real commands."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.lab import bundle as lab_bundle
from tests.lab import inventory, nodes, paths, podman, quick

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 90
# What a node with a hub needs.
HUB_AREAS = "preflight,toolkit,repositories,conda,r,jupyterhub"
# What a refused node must still lack.
TRACES = "/opt/landbridge /etc/landbridge /usr/local/bin/landbridge /var/lib/landbridge"


@dataclass(frozen=True)
class Ended:
    """An ended command."""

    code: int
    output: str


def run(*command: str | Path) -> Ended:
    """Run a command in the checkout, as a user of its virtual environment would."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "200"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return Ended(done.returncode, done.stdout)


def must(ended: Ended) -> str:
    """The output of a command that has to go well."""
    assert ended.code == 0, ended.output[-6000:]
    return ended.output


def until(done: Callable[[], Any], what: str) -> None:
    """Wait for something, as long as a busy machine may need for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def mitogen_environment() -> dict[str, str]:
    """Variables that let Ansible reach nodes through Mitogen instead of plain SSH."""
    return {
        **quick.environment("mitogen_lab"),
        # Mitogen reads this instead of what the inventory tells ssh; a node's key is always new.
        "ANSIBLE_HOST_KEY_CHECKING": "false",
    }


def linked(source: Path, target: Path) -> Path:
    """A copy of a bundle that shares every file with it; change a file only by replacing it."""
    subprocess.run(["cp", "-al", source, target], check=True)
    return target


def replace(path: Path, data: bytes) -> None:
    """Give one copy's file another content."""
    path.unlink()
    path.write_bytes(data)


@dataclass(frozen=True)
class LabNode:
    """A lab node with an inventory of its own."""

    name: str
    folder: Path

    def run(self, script: str) -> Ended:
        """Run a shell script on the node as root."""
        done = podman.run("exec", self.name, "sh", "-c", script, check=False)
        return Ended(done.returncode, done.stdout + done.stderr)

    def bootstrap(self, folder: str = nodes.BUNDLE_MOUNT, *options: str) -> Ended:
        """bootstrap.sh of a bundle on the node, told to trust the lab's key."""
        key = lab_bundle.public_key().read_text()
        words = " ".join(options)
        return self.run(f"{folder}/bootstrap.sh --trust-key - {words} <<'KEY'\n{key}KEY\n")

    def assert_untouched(self) -> None:
        """Nothing that Landbridge makes is on the node."""
        left = self.run(f"ls -d {TRACES} 2>/dev/null; rpm -q podman").output
        assert left.strip() == "package podman is not installed"

    def inventory(self, depot: str = nodes.BUNDLE_MOUNT) -> Path:
        """An inventory of this node alone, with the bundle at `depot`."""
        return inventory.write(self.folder / "inventory.yml", [self.name], depot)

    def apply(self, *options: str, depot: str = nodes.BUNDLE_MOUNT) -> Ended:
        """`landbridge apply` over SSH, from the checkout."""
        return run(BIN / "landbridge", "apply", "--inventory", self.inventory(depot), *options)


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The lab's bundle."""
    return lab_bundle.build()


@pytest.fixture(scope="session")
def hub_image(bundle: Path) -> str:
    """An image of an EL10-like node with a hub, for stories that begin where one is.

    How a node comes so far is what the scenarios show.
    """
    image = f"{podman.OWN}hub:{bundle.parent.name}"
    with paths.locked(paths.cache() / "hub-image"):
        if not podman.exists("image", image):
            _make_hub(bundle, image)
    return image


def _make_hub(bundle: Path, image: str) -> None:
    name = "hub-image"
    nodes.create(name, "el10", bundle)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for key, value in mitogen_environment().items():
            patch.setenv(key, value)
        node = LabNode(name, Path(folder))
        for ended in (node.bootstrap(), node.apply("--tags", HUB_AREAS)):
            assert ended.code == 0, ended.output[-6000:]
    nodes.save(name, image)


@pytest.fixture(scope="module")
def mitogen() -> Iterator[None]:
    """Mitogen for all converges of a story that is not about how nodes are reached."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in mitogen_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LabNode]]:
    """Boots nodes with a folder of bundles; they are deleted with the module."""
    booted: list[str] = []

    def start(name: str, platform: str, bundles: Path | None, image: str | None = None) -> LabNode:
        booted.append(name)
        nodes.create(name, platform, bundles, image)
        return LabNode(name, tmp_path_factory.mktemp(name))

    yield start
    nodes.destroy(*booted)
