"""Load a role's module and run it with arguments, as Ansible does."""

import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

ROLES = Path(__file__).parents[3] / "roles"

# As Ansible finds them for every role of a play.
MODULE_UTILS = sorted(str(folder) for folder in ROLES.glob("*/module_utils"))
ansible.module_utils.__path__.extend(MODULE_UTILS)

# The same in a process of its own; a module takes an argument for its parameters.
RUN = """
import runpy, sys
import ansible.module_utils
file, *folders = sys.argv[1:]
ansible.module_utils.__path__.extend(folders)
sys.argv[:] = [file]
runpy.run_path(file, run_name="__main__")
"""


def load(role: str, name: str) -> ModuleType:
    """The module `name` of `role`, fresh."""
    spec = importlib.util.spec_from_file_location(name, ROLES / role / "library" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def shared(name: str) -> ModuleType:
    """What modules import as `ansible.module_utils.<name>`."""
    return importlib.import_module(f"ansible.module_utils.{name}")


def run_in_process(
    role: str, name: str, arguments: dict[str, Any], *, check: bool, umask: int
) -> dict[str, Any]:
    """Run a module in a process of its own, as on a node; returns its result."""
    flags = {"_ansible_check_mode": check, "_ansible_diff": True}
    file = str(ROLES / role / "library" / f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-c", RUN, file, *MODULE_UTILS],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**flags, **arguments}}),
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@dataclass
class Runner:
    """Runs a loaded module; its answer is the JSON on standard output."""

    module: ModuleType
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        flags = {"_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args({**arguments, **flags}), pytest.raises(SystemExit):
            self.module.main()
        answer: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return answer
