"""One machine where SELinux enforces, for all stories; what the policy denies there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import mitogen_environment
from tests.lab import bundle, vm
from tests.lab.platforms import platform

BIN = Path(sys.executable).parent
DENIALS = "journalctl --boot --output=cat _TRANSPORT=audit | grep 'avc: *denied' || true"
DENIAL = re.compile(
    r"\{ (?P<what>.*?) \}.*scontext=\S+?:\S+?:(?P<who>\w+):.*"
    r"tcontext=\S+?:\S+?:(?P<whom>\w+):.*tclass=(?P<kind>\w+)"
)


def must(machine: vm.Machine, script: str) -> str:
    """The output of a script on the machine that has to go well."""
    done = machine.run(script)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def denials(machine: vm.Machine) -> set[tuple[str, ...]]:
    """Kinds of denials since the boot: who, what, to what type and class."""
    matches = map(DENIAL.search, must(machine, DENIALS).splitlines())
    return {(m["who"], m["what"], m["whom"], m["kind"]) for m in matches if m}


def apply(inventory: Path, tags: str) -> None:
    """Converge the machine."""
    command = [BIN / "landbridge", "apply", "--inventory", inventory, "--tags", tags]
    # Emulated, on a machine that does other things as well, sshd takes its time.
    environment = os.environ | mitogen_environment() | {"ANSIBLE_TIMEOUT": "300"}
    environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vm.Machine]:
    """The machine."""
    serial = tmp_path_factory.mktemp("vm") / "serial.log"
    with vm.booted(platform("el10"), bundle.build(), serial) as booted:
        yield booted


@pytest.fixture(scope="session")
def of_boot(machine: vm.Machine) -> set[tuple[str, ...]]:
    """What Debian's policy denies to the machine itself, before there is anything of ours."""
    return denials(machine)
