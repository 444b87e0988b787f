"""The root of a target's system, made of the bundle's own RPMs, in which R packages are compiled.

Nodes need no compiler because this root has one. It is made by dnf from `rpm/<target>/` alone,
and nothing that runs in it sees a network, this machine's files or its processes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import IO, NamedTuple

from landbridge.bundle.r_packages import hash_of
from landbridge.errors import InputError, LandbridgeError
from landbridge.files import need_space
from landbridge.lock import Artifact, Lock
from landbridge.process import run, tail
from landbridge.targets import PLATFORMS

# What R's packages are compiled with. conda's R has its own compilers, or those that the stack's
# system requirements name; it is started by a shell script.
COMPILER = {"rpm": ("R-core", "R-core-devel"), "conda": ("bash", "coreutils", "sed")}
# What scripts of packages call; RHEL has them wherever R-core is, and a lock may say so or not.
TOOLS = (
    *("bash", "bzip2", "coreutils", "diffutils", "file", "findutils", "gawk", "grep", "gzip"),
    *("patch", "perl-interpreter", "pkgconf-pkg-config", "sed", "tar", "unzip", "which", "xz"),
)
# Whom the root is run as: see r_root.sh.
NOBODY = 65534
_SCRIPT = "r_root.sh"
_ALONE = (
    # Whatever runs ends with the build, however that ends.
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"),
    *("--propagation", "private"),
)
_MOUNT_POINTS = ("build", "dev", "proc", "tmp")
# What rpm and its scripts add to the packages' files: databases, caches.
_OVERHEAD = 100 << 20


class Spec(NamedTuple):
    """What a root is made of.

    Attributes:
        target: kind of node.
        rpms: all that is installed, sorted by path.
        key: a hash over that.
    """

    target: str
    rpms: list[Artifact]
    key: str

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return _OVERHEAD + sum(rpm.installed_size for rpm in self.rpms)


def spec(lock: Lock, target: str, provider: str, further: Iterable[str] = ()) -> Spec:
    """What the root of a target is made of: the compiler and what it needs, by the lock.

    Args:
        lock: holds all of it.
        target: kind of node.
        provider: where R comes from, `rpm` or `conda`.
        further: names of RPMs that packages need to be compiled.

    Raises:
        InputError: the lock lacks one of them.
    """
    offered = {a.name: a for a in lock.of("rpm") if target in a.targets}
    wanted = {*COMPILER[provider], *further}
    if missing := sorted(wanted - offered.keys()):
        raise InputError(
            f"--r-binaries: {target} has no RPM {', '.join(missing)} in the lock, and R packages "
            "cannot be compiled without",
            "add them to rpm.packages of the stack and lock it again",
        )
    chosen = wanted.union(offered.keys() & set(TOOLS))
    while new := {n for n, a in offered.items() if chosen.intersection(a.required_by)} - chosen:
        chosen |= new
    rpms = [a for a in lock.of("rpm") if target in a.targets and a.name in chosen]
    return Spec(target, rpms, hash_of(target, *(rpm.sha256 for rpm in rpms)))


@dataclass(frozen=True)
class Root:
    """A root that is there.

    Attributes:
        place: its folder.
        library: where R packages are installed in it: the same path as on nodes, so that a path
            that a package keeps of itself or of another one is right there too.
    """

    place: Path
    library: str

    def start(
        self, command: Sequence[str], work: Path, output: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """Run a command of the root's in it, as nobody, with no network.

        Args:
            command: the program by its path in the root, and its arguments.
            work: `source/`, `tmp/`, `library/` and `needs/`, as r_root.sh says.
            output: takes all that it says.
        """
        return subprocess.Popen(
            [*_ALONE, "sh", _script(), "compile", self.place, work, self.library, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )


def make(wanted: Spec, bundle: Path, folder: Path, library: str) -> Root:
    """The root of a spec; made when it is not there, and then that of an older spec goes.

    Args:
        wanted: what it is made of.
        bundle: holds the RPMs' repository and their keys.
        folder: keeps roots between builds.
        library: see `Root`.

    Raises:
        LandbridgeError: this machine cannot make it, or dnf failed.
    """
    _need_machine(wanted.target)
    here = place(wanted, folder)
    if not here.is_dir():
        _make(wanted, bundle, here)
        for other in set(here.parent.iterdir()) - {here}:
            shutil.rmtree(other)
    for_all(here, library)
    return Root(here, library)


def place(wanted: Spec, folder: Path) -> Path:
    """Where the root of a spec is kept, once it is made."""
    return folder / wanted.target / wanted.key[:16]


def _make(wanted: Spec, bundle: Path, place: Path) -> None:
    """One transaction, in a folder that has its name only once it is whole."""
    new = place.with_name(f".{place.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    new.chmod(0o755)
    need_space(new, wanted.size, f"the root of {wanted.target}")
    for name in _MOUNT_POINTS:
        for_all(new, name)
    inside = [*_ALONE, "--mount-proc", "sh", str(_script()), "install", str(new)]
    done = run([*inside, *_dnf(wanted, bundle, new)], package="dnf", check=False)
    if done.returncode:
        shutil.rmtree(new)
        raise LandbridgeError(
            f"--r-binaries: dnf could not install the root of {wanted.target} from the bundle's "
            f"RPMs:\n{tail(done)}",
            "see what it lacks in the lines above, and lock it with rpm.packages",
        )
    (new / "tmp").chmod(0o1777)
    new.rename(place)


def _dnf(wanted: Spec, bundle: Path, root: Path) -> list[str]:
    """dnf that sees the bundle's repository and nothing of this machine."""
    platform = PLATFORMS[wanted.target]
    keys = " ".join(key.as_uri() for key in sorted((bundle / "rpm/keys").iterdir()))
    options = {
        "reposdir": "/dev/null",
        "pluginpath": "/dev/null",
        "module_platform_id": f"platform:el{platform.major}",
        "install_weak_deps": "0",
        "tsflags": "nodocs",
        "bundle.gpgcheck": "1",
        "bundle.gpgkey": keys,
    }
    return [
        *("dnf", "--assumeyes", "--quiet", f"--installroot={root}"),
        f"--releasever={platform.major}",
        f"--repofrompath=bundle,{(bundle / 'rpm' / wanted.target).as_uri()}",
        *(f"--setopt={name}={value}" for name, value in options.items()),
        "install",
        *(f"{rpm.name}-{rpm.version}-{rpm.build}" for rpm in wanted.rpms),
    ]


def for_all(root: Path, path: str) -> None:
    """A folder that everybody can reach, whatever the umask."""
    folder = root
    for part in path.strip("/").split("/"):
        folder /= part
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)


def _need_machine(target: str) -> None:
    """Root of this machine, or of a user namespace with a range of users; a CPU of that kind.

    Raises:
        LandbridgeError: something is not so; what to run instead is in its mend.
    """
    mend = "run it as root, or within a user namespace: podman unshare landbridge bundle build ..."
    if os.geteuid() != 0:
        raise LandbridgeError("--r-binaries: compiling R packages takes a root of its own", mend)
    machine = os.uname().machine
    if machine != PLATFORMS[target].arch:
        raise LandbridgeError(
            f"--r-binaries: {target} cannot be run on {machine}", "build on a machine of its kind"
        )
    done = run([*_ALONE, "true"], package="util-linux", check=False)
    if done.returncode:
        raise LandbridgeError(
            f"--r-binaries: this machine does not let us make namespaces: {tail(done)}", mend
        )


def _script() -> Path:
    return Path(str(package_files("landbridge.bundle").joinpath(_SCRIPT)))
