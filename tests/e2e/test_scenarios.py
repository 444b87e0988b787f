"""Every molecule scenario, on an EL9-like and an EL10-like node with no route out.

They have Mitogen, which needs half of the processor time: a module starts in a Python that runs
already. Scenario `r` converges over plain SSH, as `landbridge apply` does, because root's umask,
which it is about, is that of every session. All roles without Mitogen: test_node_itself.py.
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
SCENARIOS = sorted({p.parent.name for p in (ROOT / "molecule").glob("*/molecule.yml")} - PARTS)
# Steps of `test`, each by itself (`create` prepares as well); those that write over plain SSH.
PLAIN = {"r": ("create", "converge")}
STEPS = ("destroy", "create", "check", "converge", "idempotence", "side-effect", "verify")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / f"{scenario}.log"
    own = lab_bundle.build(scenario) if scenario in lab_bundle.STACKS else bundle
    base = os.environ | {
        "LANDBRIDGE_BUNDLE": str(own),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def molecule(step: str) -> int:
        plain = step in PLAIN.get(scenario, ())
        with log.open("a") as out:
            done = subprocess.run(
                ["molecule", step, "-s", scenario],
                cwd=ROOT,
                env=base if plain else base | mitogen_environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        return done.returncode

    try:
        steps = STEPS if scenario in PLAIN else ("test",)
        failed = next((step for step in steps if molecule(step)), None)
    finally:
        if scenario in PLAIN:
            molecule("destroy")
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-120:])
    assert failed is None, f"molecule {failed} -s {scenario} failed:\n{tail}"
