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
    for library in libraries(prefix):
        owners = [prefix]
        if settings.get("include-system-site-packages") == "true" and settings.get("home"):
            owners.append(Path(settings["home"]).parent)
        for owner in owners:
            if (owner / "lib" / library / "site-packages/ipykernel").is_dir():
                version = library.removeprefix("python")
                argv = [str(program), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
                marker = "VIRTUAL_ENV" if settings else "CONDA_PREFIX"
                resources = str(owner / "share/jupyter/kernels/python3")
                return made(prefix, home, "Python", version, argv, {marker: str(prefix)}, resources)
    return None


def r(prefix, home):
    """The kernel of an environment with R and IRkernel; None of any other."""
    program, library = prefix / "bin/R", prefix / "lib/R/library"
    if not (library / "IRkernel").is_dir() or not os.access(program, os.X_OK):
        return None
    found = re.search(r"(?m)^Version: *(\d+\.\d+)", text(library / "base/DESCRIPTION"))
    version = found[1] if found else ""
    argv = [str(program), "--no-echo", "-e", "IRkernel::main()", "--args", "{connection_file}"]
    env = {"CONDA_PREFIX": str(prefix), "R_PROFILE": R_PROFILE}
    return made(prefix, home, "R", version, argv, env, str(library / "IRkernel/kernelspec"))


def made(prefix, home, language, version, argv, env, resources):
    """A kernel whose name no other environment's has, and no managed kernel's."""
    said = re.sub(r"[^a-z0-9]+", "-", prefix.name.lower()).strip("-")
    which = hashlib.sha256(str(prefix).encode()).hexdigest()[:8]
    place = f"~/{prefix.relative_to(home)}" if home in prefix.parents else str(prefix)
    return Kernel(
        name=f"own-{said}-{which}-{language.lower()}",
        display_name=" ".join([language, version, f"({place})"]).replace("  ", " "),
        language="R" if language == "R" else "python",
        argv=argv,
        env={"PATH": f"{prefix}/bin:${{PATH}}", **env},
        resources=resources,
    )


def libraries(prefix):
    """Names of the folders of Python's modules, the newest version first."""
    try:
        names = os.listdir(prefix / "lib")
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
