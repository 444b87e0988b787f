"""An R library on disk: what it holds, and how whole packages come into it.

Standard library only, Python 3.9 and later. A package is put beside its place and moved there by
rename: an R that runs never sees half of one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import tempfile
from collections import namedtuple
from pathlib import Path, PurePosixPath

# Written last: a library without it was interrupted. {"target": ..., "packages": {name: {...}}}
MARKER = ".landbridge.json"
# What is on its way into the library, or out of it; R ignores names like these.
PASSING = ".landbridge-"

# A running R: version "4.2.2" and platform "x86_64-redhat-linux-gnu", empty where unknown.
R = namedtuple("R", "version platform")


class Problem(Exception):
    """What is wrong, in words for the reader of Ansible's output."""


def fields(description):
    """Fields Version and Built of a DESCRIPTION file; empty where it cannot be read."""
    try:
        text = Path(description).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r"^(Version|Built):[ \t]*(.*?)[ \t]*$", text, re.M))


def minor(version):
    """Major and minor of a version, "4.2" of "4.2.2": what installed packages depend on."""
    return ".".join(version.split(".")[:2])


def same_platform(one, other):
    """Whether R takes a package built on platform `one` on `other`: it ignores the vendor."""

    def without_vendor(platform):
        return re.sub(r"^([^-]*)-[^-]*-(.*)$", r"\1-\2", platform)

    return without_vendor(one) == without_vendor(other)


def reason(folder, version, r):
    """Why an installed package is not the wanted one; empty when it is.

    Args:
        folder: the package in its library.
        version: the version wanted.
        r: the R that is to load it; what is unknown of it is not compared.
    """
    has = fields(Path(folder) / "DESCRIPTION")
    built = [part.strip() for part in has.get("Built", "").split(";")]
    if not Path(folder).is_dir():
        return "missing"
    if "Version" not in has or not built[0].startswith("R ") or not has_index(folder):
        return "damaged"
    if has["Version"] != version:
        return "has " + has["Version"]
    if r.version and minor(built[0][2:]) != minor(r.version):
        return "built for " + built[0]
    # Empty for packages without compiled code.
    platform = built[1] if len(built) > 1 else ""
    if platform and r.platform and not same_platform(platform, r.platform):
        return "built for " + platform
    return ""


def has_index(folder):
    """Whether R's own index of the package is there: library() reads nothing without it."""
    return (Path(folder) / "Meta" / "package.rds").is_file()


def extent(folder):
    """Number of files and of bytes of a package: what a damage would change."""
    files, size = 0, 0
    for top, _folders, names in os.walk(folder):
        files += len(names)
        size += sum((Path(top) / name).lstat().st_size for name in names)
    return {"files": files, "bytes": size}


def marked(library):
    """What the library's marker says; None where there is none, or half of one."""
    try:
        return json.loads((Path(library) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def locks(library):
    """Locks that an interrupted R left, with the packages that it may have left half-installed."""
    found = {}
    for lock in sorted(Path(library).glob("00LOCK*")):
        inside = [p.name for p in lock.iterdir() if p.name != "00new"] if lock.is_dir() else []
        found[lock] = {*inside, lock.name[len("00LOCK-") :]} - {""}
    return found


def packages_in(library):
    """Names of all that looks like a package, whole or not."""
    folders = [p for p in Path(library).glob("*") if p.is_dir()]
    return {p.name for p in folders if not p.name.startswith((".", "00LOCK"))}


def put(new, final):
    """Move a whole package to its place, out of which the old one goes first."""
    if final.exists():
        old = Path(tempfile.mkdtemp(dir=final.parent, prefix=PASSING))
        final.rename(old / final.name)
        new.rename(final)
        shutil.rmtree(old)
    else:
        new.rename(final)


def link(source, library):
    """Put a package of another library into this one, as hard links where those are possible."""
    passing = Path(tempfile.mkdtemp(dir=library, prefix=PASSING))
    new = passing / Path(source).name
    try:
        shutil.copytree(source, new, symlinks=True, copy_function=_link_or_copy)
    except shutil.Error as error:
        raise Problem(f"{source} cannot be copied: {error}") from error
    put(new, Path(library) / new.name)
    passing.rmdir()


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:  # another filesystem, or one without hard links
        shutil.copy2(source, target)


def unpack(archive, name, version, library, r):
    """Put a built package into the library, if this R can load it.

    Args:
        archive: tarball with the one folder `name`.
        name, version: the package that it must hold.
        library: where it goes.
        r: the R that is to load it.

    Raises:
        Problem: the archive is damaged, or not what its name says.
    """
    passing = Path(tempfile.mkdtemp(dir=library, prefix=PASSING))
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract(tar, member, name, passing)
        why = reason(passing / name, version, r)
        if why:
            raise Problem(f"{archive}: {why}")
        put(passing / name, Path(library) / name)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise Problem(f"{archive}: {error}") from error
    finally:
        shutil.rmtree(passing)


def _extract(tar, member, name, folder):
    """One entry, as root's and readable by all, below `folder`/`name` and nowhere else."""
    inside = PurePosixPath(member.name)
    if inside.is_absolute() or ".." in inside.parts or inside.parts[:1] != (name,):
        raise Problem(f"{tar.name}: {member.name} is not in {name}/")
    target = folder / inside
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif member.isfile():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tar.extractfile(member) as source, target.open("xb") as stream:
            shutil.copyfileobj(source, stream)
        target.chmod(0o755 if member.mode & 0o100 else 0o644)
    else:  # R's own build makes no links
        raise Problem(f"{tar.name}: {member.name} is neither file nor directory")


def write_marker(library, target, versions):
    """Say that the library is whole, and what its packages are.

    Args:
        library: the library.
        target: what its compiled packages were built for, such as `el9-x86_64`.
        versions: version by package.
    """
    packages = {n: {"version": v, **extent(Path(library) / n)} for n, v in versions.items()}
    handle, temporary = tempfile.mkstemp(dir=library, prefix=PASSING)
    with os.fdopen(handle, "w") as stream:
        json.dump({"target": target, "packages": packages}, stream, indent=1, sort_keys=True)
        os.fchmod(stream.fileno(), 0o644)
        stream.flush()
        os.fsync(stream.fileno())
    Path(temporary).replace(Path(library) / MARKER)


def switch(link_path, target):
    """Point a link at `target` in one rename."""
    temporary = link_path.with_name(f".{link_path.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link_path)


def superfluous(libraries, wanted, keep):
    """Libraries to remove: interrupted ones, and whole ones but the `keep` newest and those in use.

    Args:
        libraries: directory of all.
        wanted: names of those that stay in any case.
        keep: how many others stay.
    """
    others = [p for p in libraries.glob("*") if p.name not in wanted]
    whole = [p for p in others if marked(p) is not None]
    whole.sort(key=lambda p: (p / MARKER).stat().st_mtime, reverse=True)
    going = set(others) - set(whole[:keep])
    return sorted(going - in_use(going))


def in_use(libraries):
    """Those of some libraries from which a process of this node has loaded a package."""
    used = set()
    for maps in Path("/proc").glob("[0-9]*/maps") if libraries else ():
        try:
            mapped = maps.read_text(errors="replace")
        except OSError:  # it has ended, or is a thread of the kernel
            continue
        used |= {library for library in libraries if f"{library}/" in mapped}
    return used
