"""Environments in a user's home that hold a Jupyter kernel, found without asking any of them.

A look at each costs a few calls of stat: no command runs, and nothing below is searched.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

# Where environments are looked for, below the home; the README tells users.
FOLDERS = ("envs", ".conda/envs", ".virtualenvs")
# What conda, mamba and micromamba write down of every environment that they make.
LISTED = ".conda/environments.txt"
# Where packages come from; the managed R reads it, too.
R_PROFILE = "/etc/landbridge/r/Rprofile.site"
# Starts ipykernel on the files that are there now. A virtual environment builds on a managed one by
# its link: what is imported later would come from wherever the link then leads.
START = (
    "import os, sys; sys.path[:] = map(os.path.realpath, sys.path[1:]);"
    " from ipykernel import kernelapp; kernelapp.launch_new_instance()"
)
# The folder of a Python's modules.
MODULES = re.compile(r"^python3\.(\d+)$")


@dataclass(frozen=True)
class Kernel:
    """A kernel as Jupyter starts it."""

    name: str
    display_name: str
    language: str
    argv: list[str]
    env: dict[str, str]
    resources: str


def kernels(home, managed):
    """The kernels of a user's own environments.

    Args:
        home: the user's home.
        managed: the folder of the node's own environments, which are no user's.
    """
    found = []
    for prefix in prefixes(home):
        if managed not in prefix.parents:
            found += [kernel for make in (python, r) if (kernel := make(prefix, home))]
    return found


def prefixes(home):
    """Folders that may be environments, each once."""
    candidates = {}
    for folder in FOLDERS:
        try:
            with os.scandir(home / folder) as entries:
                here = sorted(entry.path for entry in entries if entry.is_dir())
        except OSError:
            continue
        candidates |= dict.fromkeys(map(Path, here))
    listed = [line.strip() for line in text(home / LISTED).splitlines()]
    return [*(candidates | {Path(line): None for line in listed if line.startswith("/")})]


def python(prefix, home):
    """The kernel of an environment with Python and ipykernel; None of any other."""
    program, settings = prefix / "bin/python", venv_settings(prefix)
    if not os.access(program, os.X_OK):
        return None
    owners = [prefix]
    if settings.get("include-system-site-packages") == "true" and settings.get("home"):
        owners.append(Path(settings["home"]).parent)
    marker = "VIRTUAL_ENV" if settings else "CONDA_PREFIX"
    for library in libraries(prefix):
        for owner in owners:
            if (owner / "lib" / library / "site-packages/ipykernel").is_dir():
                return Kernel(
                    **named(prefix, home, "Python " + library.removeprefix("python")),
                    language="python",
                    argv=[str(program), "-c", START, "-f", "{connection_file}"],
                    env={**environment(prefix), marker: str(prefix)},
                    resources=str(owner / "share/jupyter/kernels/python3"),
                )
    return None


def r(prefix, home):
    """The kernel of an environment with R and IRkernel; None of any other."""
    program, library = prefix / "bin/R", prefix / "lib/R/library"
    if not (library / "IRkernel").is_dir() or not os.access(program, os.X_OK):
        return None
    version = re.search(r"(?m)^Version: *(\d+\.\d+)", text(library / "base/DESCRIPTION"))
    return Kernel(
        **named(prefix, home, f"R {version[1]}" if version else "R"),
        language="R",
        argv=[str(program), "--no-echo", "-e", "IRkernel::main()", "--args", "{connection_file}"],
        env={**environment(prefix), "CONDA_PREFIX": str(prefix), "R_PROFILE": R_PROFILE},
        resources=str(library / "IRkernel/kernelspec"),
    )


def named(prefix, home, what):
    """What users call a kernel, and a name that no other has, the stack's included."""
    said = re.sub(r"[^a-z0-9]+", "-", prefix.name.lower()).strip("-")
    which = hashlib.sha256(str(prefix).encode()).hexdigest()[:8]
    place = f"~/{prefix.relative_to(home)}" if home in prefix.parents else str(prefix)
    name = f"own-{said}-{which}-{what.partition(' ')[0].lower()}"
    return {"name": name, "display_name": f"{what} ({place})"}


def environment(prefix):
    """Variables of a kernel whose commands are those of its environment."""
    return {"PATH": f"{prefix}/bin:${{PATH}}"}


def libraries(prefix):
    """Names of the folders of Python's modules, the newest version first."""
    try:
        names = [path.name for path in (prefix / "lib").iterdir()]
    except OSError:
        return []
    numbered = [(int(found[1]), name) for name in names if (found := MODULES.match(name))]
    return [name for _, name in sorted(numbered, reverse=True)]


def venv_settings(prefix):
    """What a virtual environment says of itself; nothing of what is none."""
    lines = (line.partition("=") for line in text(prefix / "pyvenv.cfg").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def text(file):
    """What a file says; nothing where it cannot be read."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
