"""A relocatable CPython package from the interpreter that is installed on this machine.

It carries every shared library that is not glibc's: nodes need not have the same versions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab.upstream_conda_package import PLACEHOLDER, File, Package
from tests.lab.upstream_conda_wheel import PYTHON, SITE_PACKAGES

STDLIB = f"lib/python{PYTHON}"
# What no environment needs, what belongs to this machine, and three extension modules whose
# libraries (Tk, Sun RPC, libcrypt.so.1) would drag half a desktop along.
LEFT_OUT = re.compile(
    r"(^|/)(site-packages|dist-packages|__pycache__|test|tests|idlelib|tkinter|turtledemo|lib2to3"
    r"|config-[^/]*)(/|$)|\.a$|/(_tkinter|nis|_crypt)\.[^/]*so$"
    r"|/(EXTERNALLY-MANAGED|sitecustomize\.py)$"
)
GLIBC = re.compile(r"(linux-vdso|ld-linux-x86-64|lib(c|m|dl|rt|util|pthread|resolv))\.so\b")
PROBE = """
import json, platform, sys, sysconfig
print(json.dumps({
    "version": platform.python_version(),
    "prefix": sys.base_prefix,
    "stdlib": sysconfig.get_path("stdlib"),
    "include": sysconfig.get_config_var("INCLUDEPY"),
    "dynload": sysconfig.get_config_var("DESTSHARED"),
}))
"""


def base_interpreter() -> Path:
    """The interpreter behind the running virtual environment."""
    return Path(sys.base_prefix) / "bin" / f"python{PYTHON}"


def package(interpreter: Path) -> Package:
    """The conda package of the CPython installation that `interpreter` belongs to.

    Raises:
        SourceError: it is not CPython 3.11, or a shared library that it needs is missing.
    """
    facts = _probe(interpreter)
    prefix, stdlib = Path(facts["prefix"]), Path(facts["stdlib"])
    files = _tree(stdlib, STDLIB) | _tree(Path(facts["dynload"]), f"{STDLIB}/lib-dynload")
    files |= _tree(Path(facts["include"]), f"include/python{PYTHON}")
    files[f"bin/python{PYTHON}"] = interpreter.resolve()
    for name, library in _libraries(p for p in files.values() if _is_elf(p)).items():
        files[f"lib/{name}"] = library
    with tempfile.TemporaryDirectory() as scratch:
        content = {path: _file(path, source, prefix, scratch) for path, source in files.items()}
    content |= {f"bin/{name}": File(link=f"python{PYTHON}") for name in ("python", "python3")}
    content[f"{SITE_PACKAGES}/README.txt"] = File(b"Packages of this environment.\n")
    if "dist-packages" in (stdlib / "site.py").read_text():
        # Debian's site module looks nowhere else outside virtual environments.
        content[f"{STDLIB}/dist-packages"] = File(link="site-packages")
    return Package(
        name="python",
        version=facts["version"],
        build="lab_0_cpython",
        origin=f"the CPython {facts['version']} of the machine that built the lab",
        depends=[],
        license="PSF-2.0",
        licenses=_license(stdlib),
        files=content,
        site_packages=SITE_PACKAGES,
    )


def glibc_needed(files: Iterable[Path]) -> tuple[int, int]:
    """The newest glibc symbol version that any of the ELF `files` asks for."""
    versions = {(2, 0)}
    for path in files:
        text = _run("objdump", "-T", str(path))
        versions |= {(2, int(minor)) for minor in re.findall(r"GLIBC_2\.(\d+)", text)}
    return max(versions)


def _probe(interpreter: Path) -> dict[str, str]:
    if not interpreter.exists():
        raise SourceError(f"{interpreter} does not exist", f"run the lab with CPython {PYTHON}")
    facts: dict[str, str] = json.loads(_run(str(interpreter), "-I", "-c", PROBE))
    if not facts["version"].startswith(f"{PYTHON}."):
        raise SourceError(
            f"{interpreter} is Python {facts['version']}", f"run the lab with CPython {PYTHON}"
        )
    return facts


def _tree(source: Path, target: str) -> dict[str, Path]:
    """Files below `source` by their path in the package; links stand for what they point at."""
    found = {}
    for path in source.rglob("*"):
        inside = f"/{path.relative_to(source)}"
        if path.is_file() and not LEFT_OUT.search(inside):
            found[f"{target}{inside}"] = path
    return found


def _is_elf(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _libraries(binaries: Iterable[Path]) -> dict[str, Path]:
    """Every shared library but glibc's that `binaries` link to, by soname."""
    output = _run("ldd", *(str(path) for path in binaries))
    if missing := re.findall(r"(\S+) => not found", output):
        raise SourceError(
            f"the interpreter's libraries are missing: {', '.join(sorted(set(missing)))}",
            "install the packages that hold them",
        )
    found = dict(re.findall(r"(\S+) => (/\S+)", output))
    return {name: Path(path) for name, path in found.items() if not GLIBC.match(name)}


def _file(path: str, source: Path, prefix: Path, scratch: str) -> File:
    """The packaged file: ELF stripped and with a relative search path, text with no old prefix."""
    mode = 0o755 if os.access(source, os.X_OK) else 0o644
    # A system's /usr is part of many true paths; sysconfig replaces it by itself at run time.
    relocate = prefix != Path("/usr")
    if _is_elf(source):
        data = _relocatable(path, source, Path(scratch))
        # libpython falls back to the prefix it was compiled for: let that be no place at all. Only
        # the head is overwritten, since linkers let other strings share a string's tail.
        head = prefix.parts[1].encode()
        gone = str(prefix).encode().replace(head, b"_" * len(head), 1)
        return File(data.replace(str(prefix).encode(), gone) if relocate else data, mode)
    data = source.read_bytes()
    if b"\0" not in data and relocate:
        data = data.replace(str(prefix).encode(), PLACEHOLDER.encode())
    return File(data, mode)


def _relocatable(path: str, source: Path, scratch: Path) -> bytes:
    copy = scratch / "elf"
    shutil.copyfile(source, copy)
    _run("strip", "--strip-unneeded", str(copy))
    up = "/".join([".."] * path.count("/"))
    _run("patchelf", "--set-rpath", f"$ORIGIN/{up}/lib", str(copy))
    return copy.read_bytes()


def _license(stdlib: Path) -> dict[str, bytes]:
    found = [stdlib / "LICENSE.txt", Path(f"/usr/share/doc/python{PYTHON}/copyright")]
    return {p.name: p.read_bytes() for p in found if p.exists()}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SourceError(
            f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}",
            "install the Debian packages of the Makefile's LAB_PACKAGES",
        )
    return done.stdout
