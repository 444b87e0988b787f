"""Packages and a channel that py-rattler installs offline; their CPython stands alone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import upstream_conda, upstream_conda_package, upstream_conda_python
from tests.lab import upstream_conda_wheel as wheels
from tests.lab.upstream_conda_package import PLACEHOLDER, File, Package
from tests.unit.lab.wheels import make_wheel

DEBIAN_PYTHON = Path("/usr/bin/python3.11")
INTERPRETERS = {upstream_conda_python.base_interpreter().resolve(), DEBIAN_PYTHON.resolve()}
INSTALL = """
import asyncio, os, sys
from rattler import Channel, Client, VirtualPackage, install, solve
async def main(channel, prefix, *specs):
    virtual = [package.into_generic() for package in VirtualPackage.detect()]
    records = await solve([Channel(channel)], specs, platforms=["linux-64", "noarch"],
                          virtual_packages=virtual)
    await install(records, prefix, cache_dir=prefix + ".cache", show_progress=False,
                  client=Client())
asyncio.run(main(*sys.argv[1:]))
sys.stdout.flush()
os._exit(0)
"""
EXTENSIONS = "bz2, ctypes, curses, hashlib, lzma, readline, sqlite3, ssl, uuid, zlib"
COMMAND = f"""
import {EXTENSIONS}
import json, sys, sysconfig
def main():
    print(json.dumps([sys.prefix, sysconfig.get_path("stdlib"), sys.argv[1:]]))
"""


def package(**changes: object) -> Package:
    values: dict[str, object] = {"name": "demo", "version": "1", "build": "0", "origin": "a test"}
    values |= {"depends": [], "license": "MIT", "noarch": "generic", **changes}
    return Package(**values)  # type: ignore[arg-type]


def test_the_same_content_gives_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    files = {"share/demo": File(b"x" * 100_000), "share/link": File(link="demo")}
    first = upstream_conda_package.write(package(files=files), tmp_path / "a").read_bytes()
    time.sleep(2.1)  # dates in a zip are even seconds
    second = upstream_conda_package.write(package(files=files), tmp_path / "b").read_bytes()
    assert first == second


def offline(*command: str | Path) -> str:
    """Run in a network namespace without a route and without this machine's variables."""
    words = ["unshare", "--net", *(str(word) for word in command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={}, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("interpreter", sorted(INTERPRETERS), ids=str)
def test_an_environment_is_installed_offline_and_stands_alone(
    interpreter: Path, tmp_path: Path
) -> None:
    points = {"tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool.cli:main\n"}
    make_wheel(tmp_path / "wheels", "tool", files={"tool/cli.py": COMMAND, **points})
    known = wheels.catalogue(tmp_path / "wheels")
    channel, prefix = tmp_path / "channel", tmp_path / "prefix"
    upstream_conda_package.write(wheels.package(known["tool"], known), channel)
    python = upstream_conda_python.package(interpreter)
    upstream_conda_package.write(python, channel)
    upstream_conda.index(channel)
    assert (channel / "linux-64/repodata.json.zst").exists()

    offline(sys.executable, "-c", INSTALL, channel.as_uri(), prefix, "tool")

    said = offline(prefix / "bin/tool", "a b")
    assert said == f'["{prefix}", "{prefix}/lib/python3.11", ["a b"]]\n'
    assert PLACEHOLDER not in (prefix / "bin/tool").read_text()
    for binary in [prefix / "bin/python3.11", *prefix.glob("lib/**/*.so*")]:
        linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
        strange = [
            (name, path)
            for name, path in re.findall(r"(\S+) => (.+) ", linked)
            if not path.startswith(f"{prefix}/") and not upstream_conda_python.GLIBC.match(name)
        ]
        assert strange == [], binary


def test_the_proxy_package_brings_its_command_and_needs_node(tmp_path: Path) -> None:
    module = tmp_path / "lib/node_modules/configurable-http-proxy"
    (module / "bin").mkdir(parents=True)
    (module / "package.json").write_text(
        '{"name": "configurable-http-proxy", "version": "5.3.0", "license": "BSD-3-Clause"}'
    )
    (module / "LICENSE").write_text("BSD\n")
    (module / "bin/configurable-http-proxy").write_text("#!/usr/bin/env node\n")
    (module / "bin/configurable-http-proxy").chmod(0o755)
    (tmp_path / "bin").mkdir()
    target = "../lib/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    (tmp_path / "bin/configurable-http-proxy").symlink_to(target)
    found = upstream_conda.proxy(tmp_path)
    assert (found.version, found.depends, found.subdir) == ("5.3.0", ["nodejs >=20"], "noarch")
    assert found.files["bin/configurable-http-proxy"].link == target
    assert found.files[target.removeprefix("../")].mode == 0o755
