"""Turns wheels into conda packages under the names that conda-forge gives them."""

from __future__ import annotations

import base64
import configparser
import hashlib
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name, parse_wheel_filename

from landbridge.errors import SourceError
from tests.lab.upstream_conda_package import PLACEHOLDER, File, Package

PYTHON = "3.11"
SITE_PACKAGES = f"lib/python{PYTHON}/site-packages"
# Wheels that need a newer glibc than Enterprise Linux 9's would not run there.
GLIBC = (2, 34)
LEGACY_GLIBC = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
# Where conda-forge's name is not the normalised name on PyPI (of the wheels in the lab's set).
CONDA_NAMES = {
    "fastjsonschema": "python-fastjsonschema",
    "ipython-pygments-lexers": "ipython_pygments_lexers",
    "jupyter-client": "jupyter_client",
    "jupyter-core": "jupyter_core",
    "jupyter-events": "jupyter_events",
    "jupyter-server": "jupyter_server",
    "jupyter-server-fileid": "jupyter_server_fileid",
    "jupyter-server-terminals": "jupyter_server_terminals",
    "jupyter-ydoc": "jupyter_ydoc",
    "jupyterlab-pygments": "jupyterlab_pygments",
    "jupyterlab-server": "jupyterlab_server",
    # The whole of `matplotlib` brings a desktop toolkit along.
    "matplotlib": "matplotlib-base",
    "prometheus-client": "prometheus_client",
    # conda-forge's package of that name is linked with its libpq; the wheel brings its own.
    "psycopg2-binary": "psycopg2",
    "pure-eval": "pure_eval",
    "ruamel-yaml": "ruamel.yaml",
    "stack-data": "stack_data",
    "typing-extensions": "typing_extensions",
    "tzdata": "python-tzdata",
}


@dataclass(frozen=True)
class Wheel:
    """A wheel file and its METADATA."""

    path: Path
    metadata: Message

    @property
    def name(self) -> str:
        """The normalised project name."""
        return canonicalize_name(self.metadata["Name"])


def catalogue(folder: Path) -> dict[str, Wheel]:
    """The wheels of `folder` by normalised name."""
    wheels = {}
    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            metadata = Parser().parsestr(_read(archive, _dist_info(archive), "METADATA"))
        wheel = Wheel(path, metadata)
        wheels[wheel.name] = wheel
    return wheels


def package(wheel: Wheel, known: Mapping[str, Wheel]) -> Package:
    """The conda package of `wheel`.

    Args:
        wheel: what to convert.
        known: every wheel of the channel; extras are expanded by their requirements.

    Raises:
        SourceError: the wheel needs a newer glibc than EL9's, or a wheel that is not known.
    """
    with zipfile.ZipFile(wheel.path) as archive:
        info = _dist_info(archive)
        tags = Parser().parsestr(_read(archive, info, "WHEEL"))
        pure = tags["Root-Is-Purelib"].strip().lower() == "true"
        site = "site-packages" if pure else SITE_PACKAGES
        commands = _console_scripts(archive, info)
        files = _files(archive, site, info, "python-scripts" if pure else "bin")
        licenses = {
            name.removeprefix(f"{info}/"): archive.read(name)
            for name in archive.namelist()
            if re.match(rf"{re.escape(info)}/(licenses/|LICEN[CS]E|COPYING)", name)
            and not name.endswith("/")
        }
    if not pure:
        files |= {f"bin/{command.split(' = ')[0]}": _script(command) for command in commands}
    return Package(
        name=conda_name(wheel.name),
        version=wheel.metadata["Version"].replace("-", "_"),
        build="lab_pyh_0" if pure else "lab_py311_0",
        origin=wheel.path.name,
        depends=[f"python {PYTHON}.*", *_glibc(wheel), *depends(wheel, known)],
        license=_license(wheel.metadata),
        files=files,
        licenses=licenses,
        noarch="python" if pure else None,
        entry_points=commands,
    )


def conda_name(name: str) -> str:
    """conda-forge's name of a PyPI project."""
    normal = canonicalize_name(name)
    return CONDA_NAMES.get(normal, normal)


def depends(wheel: Wheel, known: Mapping[str, Wheel], extras: Iterable[str] = ()) -> list[str]:
    """Match specifications of what `wheel` requires on Linux, CPython 3.11, with its `extras`.

    conda has no extras: those of a requirement are replaced by what they require.
    """
    specs: dict[str, None] = {}
    for text in wheel.metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if not _applies(requirement, extras):
            continue
        name = canonicalize_name(requirement.name)
        if name not in known:
            raise SourceError(
                f"{wheel.path.name} requires {text}, which is not among the lab's wheels",
                "add it to tests/lab/upstream_conda_wheels.txt",
            )
        if name != wheel.name:
            specs[match_spec(requirement)] = None
        if requirement.extras:
            specs |= dict.fromkeys(depends(known[name], known, requirement.extras))
    return sorted(specs)


def match_spec(requirement: Requirement) -> str:
    """The conda match specification of a requirement, without its extras and marker."""
    terms = sorted(term for spec in requirement.specifier for term in _terms(spec))
    return f"{conda_name(requirement.name)} {','.join(terms)}".strip()


def _terms(spec: Specifier) -> list[str]:
    version = spec.version.replace("-", "_")
    if spec.operator == "~=":
        return [f">={version}", f"{version.rpartition('.')[0]}.*"]
    if spec.operator in ("==", "==="):
        return [version if version.endswith(".*") else f"=={version}"]
    return [f"{spec.operator}{version}"]


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    if requirement.marker is None:
        return not list(extras)
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{PYTHON}.9",
        "python_version": PYTHON,
        "sys_platform": "linux",
    }
    plain = requirement.marker.evaluate(environment | {"extra": ""})
    # With extras, only what the extra adds: the rest is already required by the package itself.
    wanted = any(requirement.marker.evaluate(environment | {"extra": e}) for e in extras)
    return wanted and not plain if list(extras) else plain


def _glibc(wheel: Wheel) -> list[str]:
    """`__glibc >=x.y` from the lowest manylinux tag; nothing for wheels of any platform."""
    needs = set()
    for tag in parse_wheel_filename(wheel.path.name)[3]:
        if match := re.fullmatch(r"manylinux_(\d+)_(\d+)_x86_64", tag.platform):
            needs.add((int(match[1]), int(match[2])))
        elif (family := tag.platform.removesuffix("_x86_64")) in LEGACY_GLIBC:
            needs.add(LEGACY_GLIBC[family])
    if not needs:
        return []
    lowest = min(needs)
    if lowest > GLIBC:
        raise SourceError(
            f"{wheel.path.name} needs glibc {lowest[0]}.{lowest[1]}; Enterprise Linux 9 has 2.34",
            "pin an older version in tests/lab/upstream_conda_wheels.txt",
        )
    return [f"__glibc >={lowest[0]}.{lowest[1]}"]


def _files(archive: zipfile.ZipFile, site: str, info: str, scripts: str) -> dict[str, File]:
    """Every file of the wheel by its path in the environment."""
    folders = {"purelib": site, "platlib": site, "scripts": scripts, "headers": "include"}
    files = {}
    for member in archive.infolist():
        if member.is_dir():
            continue
        data, path = archive.read(member), f"{site}/{member.filename}"
        executable = bool((member.external_attr >> 16) & 0o111)
        if match := re.fullmatch(r"[^/]+\.data/(\w+)/(.+)", member.filename):
            path = match[2] if match[1] == "data" else f"{folders[match[1]]}/{match[2]}"
            if match[1] == "scripts":
                executable = True
                data = re.sub(rb"\A#!python\w*", f"#!{PLACEHOLDER}/bin/python".encode(), data)
        files[path] = File(data, 0o755 if executable else 0o644)
    return files | _installer(files[f"{site}/{info}/RECORD"].data, f"{site}/{info}", info)


def _installer(record: bytes, folder: str, info: str) -> dict[str, File]:
    """INSTALLER, so that pip knows whose files these are, and the RECORD that lists it."""
    data = b"conda\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    line = f"{info}/INSTALLER,sha256={digest},{len(data)}\n".encode()
    return {
        f"{folder}/INSTALLER": File(data),
        f"{folder}/RECORD": File(record.rstrip(b"\n") + b"\n" + line),
    }


def _script(command: str) -> File:
    """The file of a console script, `command` being `name = module:object`."""
    module, _, target = command.split(" = ")[1].partition(":")
    text = (
        f"#!{PLACEHOLDER}/bin/python\nimport sys\nfrom {module} import {target.split('.')[0]}\n"
        f"if __name__ == '__main__':\n    sys.exit({target}())\n"
    )
    return File(text.encode(), 0o755)


def _console_scripts(archive: zipfile.ZipFile, info: str) -> list[str]:
    if f"{info}/entry_points.txt" not in archive.namelist():
        return []
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    points.optionxform = str  # type: ignore[assignment,method-assign]
    points.read_string(_read(archive, info, "entry_points.txt"))
    if not points.has_section("console_scripts"):
        return []
    scripts = points.items("console_scripts")
    return sorted(f"{name} = {target.split('[')[0].strip()}" for name, target in scripts)


def _license(metadata: Message) -> str:
    """The SPDX expression, else the short old-style field, else the trove classifier."""
    old = str(metadata["License"] or "").strip()
    if expression := metadata["License-Expression"] or (old if 0 < len(old) < 60 else None):
        return str(expression).splitlines()[0]
    for classifier in metadata.get_all("Classifier", []):
        if classifier.startswith("License ::"):
            return str(classifier).rpartition(" :: ")[2]
    return "unknown"


def _dist_info(archive: zipfile.ZipFile) -> str:
    return next(n.split("/")[0] for n in archive.namelist() if n.endswith(".dist-info/METADATA"))


def _read(archive: zipfile.ZipFile, info: str, name: str) -> str:
    return archive.read(f"{info}/{name}").decode("utf-8")
