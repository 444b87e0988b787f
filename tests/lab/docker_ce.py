"""Real Docker as RPMs with the names, relations and scripts of Docker CE's own; in no bundle.

The programs are Debian's: engine, containerd and runc of the suite that a platform is made from,
the plugins of the newest one (an older suite's compose is written in Python and depends on half
of it; the newer one runs on every node).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from landbridge.errors import NodeError, SourceError
from tests.lab import debs, nodes, paths, podman, rpmbuild, rpmrepo
from tests.lab.platforms import PLATFORMS, Platform
from tests.lab.platforms import platform as platform_named

_NEWEST = PLATFORMS["el10"]
_ENGINE = ["docker.io", "containerd", "runc", "tini"]
_PLUGINS = ["docker-compose", "docker-buildx"]

# What a node, being a container itself, cannot give to a service: see tests/lab/nodes.py.
_RAISED = ("Limit", "OOMScoreAdjust=")

_PROVIDED = "[%{=NAME} %{PROVIDENAME}\n][%{=NAME} %{FILENAMES}\n]"


@dataclass(frozen=True)
class Part:
    """One of Docker CE's packages.

    Attributes:
        deb: the Debian package that has its version.
        epoch: the RPM's, as Docker's.
        files: (path in the RPM, path in the .debs).
        relations: lines of the spec.
        units: what systemd gets; its scripts know the first one only, as Docker's do.
        group: whether it makes group docker.
    """

    deb: str
    epoch: str
    files: tuple[tuple[str, str], ...]
    relations: tuple[str, ...]
    units: tuple[str, ...] = ()
    group: bool = False


def _parts(platform: Platform) -> dict[str, Part]:
    plugins, scripts = "usr/libexec/docker/cli-plugins", "usr/share/docker.io/contrib"
    network = "slirp4netns" if platform.major == "9" else "passt"
    return {
        "docker-ce": Part(
            deb="docker.io",
            epoch="3",
            files=(
                ("usr/bin/dockerd", "usr/sbin/dockerd"),
                ("usr/bin/docker-proxy", "usr/sbin/docker-proxy"),
                ("usr/bin/docker-init", "usr/bin/tini-static"),
            ),
            relations=(
                *("Requires: /usr/sbin/groupadd", "Requires: docker-ce-cli"),
                *("Requires: container-selinux", "Requires: systemd", "Requires: iptables"),
                *("Requires: containerd.io >= 1.6", "Requires: tar", "Requires: xz"),
                "Recommends: docker-ce-rootless-extras",
                *("Conflicts: docker", "Conflicts: docker-io", "Conflicts: docker-ee"),
                *("Obsoletes: docker-ce-selinux", "Obsoletes: docker-engine"),
            ),
            units=("docker.service", "docker.socket"),
            group=True,
        ),
        "docker-ce-cli": Part(
            deb="docker.io",
            epoch="1",
            files=(("usr/bin/docker", "usr/bin/docker"),),
            relations=(
                *("Requires: /bin/sh", "Requires: /usr/sbin/groupadd"),
                *("Recommends: docker-buildx-plugin", "Recommends: docker-compose-plugin"),
                *("Conflicts: docker", "Conflicts: docker-io"),
            ),
            group=True,
        ),
        "containerd.io": Part(
            deb="containerd",
            epoch="",
            files=(
                ("usr/bin/containerd", "usr/bin/containerd"),
                ("usr/bin/containerd-shim-runc-v2", "usr/bin/containerd-shim-runc-v2"),
                ("usr/bin/ctr", "usr/bin/ctr"),
                ("usr/bin/runc", "usr/sbin/runc"),
            ),
            relations=(
                *("Requires: container-selinux", "Provides: containerd", "Provides: runc"),
                *("Obsoletes: containerd", "Obsoletes: runc"),
                *("Conflicts: containerd", "Conflicts: runc"),
            ),
            units=("containerd.service",),
        ),
        "docker-ce-rootless-extras": Part(
            deb="docker.io",
            epoch="",
            files=tuple(
                (f"usr/bin/{name}", f"{scripts}/{name}")
                for name in ("dockerd-rootless.sh", "dockerd-rootless-setuptool.sh")
            ),
            relations=(
                *("Requires: docker-ce", f"Requires: {network}", "Requires: fuse-overlayfs"),
                "Conflicts: rootlesskit",
            ),
        ),
        **{
            f"{deb}-plugin": Part(
                deb=deb,
                epoch="",
                files=((f"{plugins}/{deb}", f"{plugins}/{deb}"),),
                relations=("Enhances: docker-ce-cli",),
            )
            for deb in _PLUGINS
        },
    }


def folder(platform: Platform) -> Path:
    """The folder of the RPMs, and of what they require beyond a node's base."""
    newest = debs.fetch(_NEWEST.suite, _PLUGINS)
    # The newest suite has the command in a package of its own.
    names = [*_ENGINE, "docker-cli"] if platform == _NEWEST else _ENGINE
    engine = debs.fetch(platform.suite, names)
    offered = rpmrepo.repository(platform)
    inputs = paths.key(newest.name, engine.name, offered.parent.name, Path(__file__))
    return paths.product(
        f"docker-ce/{platform.name}", inputs, lambda to: _make(platform, [newest, engine], to)
    )


def install(node: str) -> None:
    """Install the RPMs on a node; its own repositories are not asked.

    Raises:
        NodeError: dnf could not.
    """
    source = folder(platform_named(nodes.find(node).platform))
    rpms = "/root/docker-ce"
    script = f"mkdir -p {rpms} && tar -C {rpms} -xf - && "
    script += f"dnf --assumeyes --quiet --disablerepo='*' install {rpms}/*.rpm"
    with subprocess.Popen(["tar", "-C", source, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
        _on_node(node, script, tar.stdout)


def load(node: str, layout: Path, image: str) -> None:
    """Give an image of an OCI layout to the Docker that runs on a node.

    Raises:
        NodeError: Docker did not take it.
    """
    with tempfile.TemporaryDirectory(dir=paths.cache()) as folder:
        archive = Path(folder, "image.tar")
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{layout}:{image}"]
        subprocess.run([*copy, f"docker-archive:{archive}:{image}"], check=True)
        with archive.open("rb") as stdin:
            _on_node(node, "docker load", stdin)


def _on_node(node: str, script: str, stdin: IO[bytes] | None) -> None:
    done = subprocess.run(
        podman.command("exec", "--interactive", node, "sh", "-c", script),
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NodeError(f"node {node}: {script}: {done.stderr.strip()}")


def _make(platform: Platform, sources: list[Path], to: Path) -> None:
    work = to / ".work"
    content, versions = work / "content", {}
    content.mkdir(parents=True)
    for deb in (file for source in sources for file in sorted(source.glob("*.deb"))):
        subprocess.run(["dpkg-deb", "--extract", deb, content], check=True)
        form = "--showformat=${Package} ${Version}"
        name, version = _output("dpkg-deb", "--show", form, deb).split()
        versions[name] = re.split(r"[+~-]", version)[0]
    for name, part in _parts(platform).items():
        image = work / name / "image"
        files = [*_programs(part, content, image), *_units(part, content, image)]
        text = rpmbuild.header(
            name,
            versions[part.deb],
            f"1.{platform.name}",
            f"The lab's {name}, of Debian's {part.deb}",
            arch="x86_64",
            epoch=part.epoch,
        )
        text += "\n".join(part.relations) + "\n%description\nA container engine's part.\n"
        text += f"%install\ncp -a {image}/. %{{buildroot}}/\n%files\n" + "\n".join(files)
        rpmbuild.build(text + _scripts(part), work / name, work / "out")
    made = sorted((work / "out").rglob("*.rpm"))
    rpmrepo.sign(made)
    for file in (*made, *_closure(platform, made)):
        shutil.copy(file, to)
    shutil.rmtree(work)


def _programs(part: Part, content: Path, image: Path) -> list[str]:
    """Put the programs into `image`; returns their lines of %files."""
    for path, source in part.files:
        place = image / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(content / source, place)
    return [f"%attr(755,root,root) /{path}" for path, _source in part.files]


def _units(part: Part, content: Path, image: Path) -> list[str]:
    """Put the units into `image`, with Docker's paths; returns their lines of %files."""
    lines = []
    for unit in part.units:
        # The older suite has not merged /lib into /usr.
        (source,) = content.glob(f"**/lib/systemd/system/{unit}")
        kept = [
            line.replace("/usr/sbin/dockerd", "/usr/bin/dockerd")
            for line in source.read_text().splitlines()
            if not line.startswith(_RAISED)
        ]
        place = image / "usr/lib/systemd/system" / unit
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(kept) + "\n")
        lines.append(f"%attr(644,root,root) /usr/lib/systemd/system/{unit}")
    return lines


def _scripts(part: Part) -> str:
    """What Docker's spec files do, with systemd's macros written out."""
    text = "\n"
    if part.group:
        text += "%pre\ngetent group docker >/dev/null || groupadd --system docker\n"
    if part.units:
        unit = part.units[0]
        text += (
            f"%post\nif [ $1 -eq 1 ]; then systemctl --no-reload preset {unit} || :; fi\n"
            f"%preun\nif [ $1 -eq 0 ]; then systemctl --no-reload disable --now {unit} || :; fi\n"
            f"%postun\nif [ $1 -ge 1 ]; then systemctl try-restart {unit} || :; fi\n"
        )
    return text


def _closure(platform: Platform, rpms: list[Path]) -> list[Path]:
    """What `rpms` require of the lab's repository, and a node does not have from the start.

    Raises:
        SourceError: something is nowhere.
    """
    offered = sorted((rpmrepo.repository(platform) / "Packages").glob("*.rpm"))
    base = rpmrepo.base_packages(platform)
    files = dict(zip(_query("%{NAME}\n", offered), offered, strict=True))
    provider = {what: name for name, what in _pairs(_PROVIDED, offered)}
    required = defaultdict(set)
    for name, what in _pairs("[%{=NAME} %{REQUIRENAME}\n]", [*offered, *rpms]):
        required[name].add(what)
    there = {what for _name, what in _pairs(_PROVIDED, [*base, *rpms])}
    waiting, found = _query("%{NAME}\n", rpms), []
    while waiting:
        for what in sorted(required[waiting.pop()] - there):
            if what.startswith("rpmlib(") or what in there:
                continue
            if what not in provider:
                raise SourceError(f"nothing in the lab's RPM repository provides {what}")
            name = provider[what]
            found.append(files[name])
            there |= {what for _name, what in _pairs(_PROVIDED, [files[name]])}
            waiting.append(name)
    return found


def _pairs(form: str, rpms: list[Path]) -> list[tuple[str, str]]:
    rows = (line.partition(" ") for line in _query(form, rpms))
    return [(name, what) for name, _, what in rows]


def _query(form: str, rpms: list[Path]) -> list[str]:
    return _output("rpm", "-qp", "--nosignature", "--queryformat", form, *rpms).splitlines()


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
