"""Every molecule scenario, on an EL9-like and an EL10-like node with no route out.

Scenario `r` speaks plain SSH, as `landbridge apply` does, because root's umask, which it is about,
is that of every session. The others have Mitogen, which needs half of the processor time: a module
starts in a Python that runs already. All roles without Mitogen: test_node_itself.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import mitogen_environment
from tests.lab import bundle as lab_bundle

ROOT = Path(__file__).parents[2]
# Nothing but a part of `default`, for who works on one role: with its variables, on its nodes.
PARTS = {"conda", "repositories"}
PLAIN = {"r"}
SCENARIOS = sorted({p.parent.name for p in (ROOT / "molecule").glob("*/molecule.yml")} - PARTS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / f"{scenario}.log"
    own = lab_bundle.build(scenario) if scenario in lab_bundle.STACKS else bundle
    environment = os.environ | ({} if scenario in PLAIN else mitogen_environment())
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
