"""Every molecule scenario, on an EL9-like and an EL10-like node with no route out.

Scenario `default`, with all roles, speaks plain SSH, as `landbridge apply` does. The others have
Mitogen, which needs half of the processor time: a module starts in a Python that runs already.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.lab import bundle as lab_bundle

ROOT = Path(__file__).parents[2]
# Nothing but a part of `default`, for who works on one role: with its variables, on its nodes.
PARTS = {"conda", "repositories"}
SCENARIOS = sorted({p.parent.name for p in (ROOT / "molecule").glob("*/molecule.yml")} - PARTS)


def connection(scenario: str) -> dict[str, str]:
    """The environment that says how Ansible reaches a scenario's nodes."""
    if scenario == "default":
        return {}
    mitogen = find_spec("ansible_mitogen")
    assert mitogen and mitogen.origin
    return {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(Path(mitogen.origin).parent / "plugins" / "strategy"),
        # Mitogen reads this instead of what the inventory tells ssh; a node's key is always new.
        "ANSIBLE_HOST_KEY_CHECKING": "false",
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / f"{scenario}.log"
    own = lab_bundle.build(scenario) if scenario in lab_bundle.STACKS else bundle
    environment = os.environ | connection(scenario)
    environment |= {
        "LANDBRIDGE_BUNDLE": str(own),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with log.open("w") as out:
        done = subprocess.run(
            ["molecule", "test", "-s", scenario],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-120:])
    assert done.returncode == 0, f"molecule test -s {scenario} failed:\n{tail}"
