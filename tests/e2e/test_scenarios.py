"""Every molecule scenario, on an EL9-like and an EL10-like node with no route out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import bundle as lab_bundle

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted(p.parent.name for p in (ROOT / "molecule").glob("*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / f"{scenario}.log"
    own = lab_bundle.build(scenario) if scenario in lab_bundle.STACKS else bundle
    environment = os.environ | {
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
