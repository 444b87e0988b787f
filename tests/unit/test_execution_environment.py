"""What AWX runs the playbooks in, by ansible-builder itself; and what its page names."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from landbridge.bundle.toolkit import COLLECTION_NAMES

ROOT = Path(__file__).parents[2]
DEFINITION = "execution-environment.yml"


def test_ansible_builder_makes_a_context_of_it(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/landbridge-0-py3-none-any.whl").write_bytes(b"a wheel")
    (tmp_path / DEFINITION).write_bytes((ROOT / DEFINITION).read_bytes())
    command = [Path(sys.executable).parent / "ansible-builder", "create", "--context", "made"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = tmp_path / "made/_build"
    assert (built / "landbridge/landbridge-0-py3-none-any.whl").read_bytes() == b"a wheel"
    galaxy = yaml.safe_load((built / "requirements.yml").read_text())
    assert galaxy["collections"] == list(COLLECTION_NAMES)
    assert "COPY _build/landbridge" in (tmp_path / "made/Containerfile").read_text()


def test_it_has_the_ansible_of_the_project() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    given = yaml.safe_load((ROOT / DEFINITION).read_text())["dependencies"]
    assert {given[name]["package_pip"] for name in ("ansible_core", "ansible_runner")} <= set(
        wanted
    )


def test_its_page_names_playbooks_that_are_there() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/awx.md").read_text(), re.DOTALL)
    (play,) = yaml.safe_load(block)
    modules = [next(key for key in task if key != "name") for task in play["tasks"]]
    playbooks = [
        task["awx.awx.job_template"]["playbook"]
        for task in play["tasks"]
        if "awx.awx.job_template" in task
    ]
    assert all(module.startswith("awx.awx.") for module in modules)
    assert playbooks == ["site.yml", "playbooks/verify.yml"]
    assert all((ROOT / playbook).is_file() for playbook in playbooks)
