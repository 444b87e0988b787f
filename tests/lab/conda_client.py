"""A real conda, as a client that is not ours: the one that conda-lock carries inside itself.

conda itself is not on PyPI. conda-lock vendors conda 24.7 under another package name and leaves
out its plugins, so this client installs explicit lists and solves nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lab import paths

CONDA_LOCK = "conda-lock==4.0.3"
# What conda needs and conda-lock does not.
NEEDS = ("archspec", "boltons", "conda-package-handling", "distro", "frozendict", "platformdirs")
NEEDS += ("pluggy", "pycosat", "requests", "ruamel.yaml", "tqdm", "zstandard")
# Gives the vendored package back its name.
PROGRAM = """
import importlib, importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "conda":
            return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        return importlib.import_module("conda_lock._vendor." + spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Finder())
from conda.cli.main import main
sys.exit(main(*sys.argv[1:]))
"""


def command() -> list[str]:
    """The beginning of a command line that runs `conda`; installed if missing."""
    folder = paths.product(
        "conda-client", paths.key(CONDA_LOCK, *NEEDS, PROGRAM, sys.version), _make
    )
    return [str(folder / "bin" / "python"), str(folder / "conda.py")]


def _make(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", CONDA_LOCK, *NEEDS]
    subprocess.run(pip, check=True)
    (folder / "conda.py").write_text(PROGRAM)
