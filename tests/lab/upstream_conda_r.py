"""R as conda packages: conda-forge's `r-base` from Debian's r-base-core, with conda-forge's layout.

Every shared library that is neither glibc's nor GCC's runtime comes along, and a font for plots.
Left out: Tk, translations, and the recommended packages (conda-forge has those
apart, too).
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import debs, r_makeconf
from tests.lab.upstream_conda_package import PLACEHOLDER, File, Package

# Debian releases whose R runs on both kinds of node, with what it is said to require. bookworm's
# needs glibc 2.36 and, like the channel's CPython, does not say so: the EL9-like nodes have it.
SUITES: dict[str, list[str]] = {"bookworm": [], "bullseye": ["__glibc >=2.31"]}

HOME = f"{PLACEHOLDER}/lib/R"
LEFT_OUT = re.compile(
    r"library/(tcltk|translations)/|modules/R_de\.so|doc/(NEWS|manual|html)|library/[^/]*/"
    r"(demo|po|html|doc)/|bin/(libtool|javareconf)|/Renviron\.(orig|site|ucf)$|(^|/)COPYING$"
)
# glibc and what GCC's runtime must have from the node, whose compilers build R's packages.
OF_THE_NODE = re.compile(r"(ld-linux|lib(c|m|dl|rt|util|pthread|resolv|stdc\+\+|gcc_s))[-.]")
# `bin/R` looks for R in /usr first, whatever its own place is.
MULTILIB = re.compile(r'^if test "\$\{R_HOME_DIR\}" = "/usr/lib/R"; then\n.*?^fi\n', re.M | re.S)
FONTS = "share/fonts/dejavu"
FONTS_CONF = f"""\
<?xml version="1.0"?>
<fontconfig>
  <dir>{PLACEHOLDER}/{FONTS}</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""
# Without Java; an environment's libraries are found by their place, so no other program that R
# starts gets to see them.
LDPATHS = """\
: ${R_LD_LIBRARY_PATH=${R_HOME}/lib}
LD_LIBRARY_PATH="${R_LD_LIBRARY_PATH}${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"
export LD_LIBRARY_PATH
"""
RSCRIPT = f"""\
#!/bin/sh
# The program has the place of its R compiled in; RHOME overrides that.
RHOME={HOME}
export RHOME
exec "$RHOME/bin/Rscript.bin" "$@"
"""


def packages() -> Iterator[Package]:
    """`r-base` of each of `SUITES`."""
    for suite, requires in SUITES.items():
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch)
            for deb in sorted(debs.fetch(suite, ["r-base-core"], closure=True).iterdir()):
                _run("dpkg-deb", "--extract", str(deb), scratch)
            yield _package(suite, requires, tree)


def _package(suite: str, requires: list[str], tree: Path) -> Package:
    home = {path: file for path, file in _home(tree).items() if not LEFT_OUT.search(path)}
    home["etc/Makeconf"] = File(r_makeconf.fast(home["etc/Makeconf"].data.decode()).encode())
    home["etc/ldpaths"] = File(LDPATHS.encode())
    home["bin/Rscript.bin"] = home["bin/Rscript"]
    home["bin/Rscript"] = File(RSCRIPT.encode(), 0o755)
    files = {f"lib/R/{path}": file for path, file in home.items()}
    files |= {f"bin/{name}": home[f"bin/{name}"] for name in ("R", "Rscript")}
    files |= _libraries(tree, files)
    for font in sorted((tree / "usr/share/fonts/truetype/dejavu").glob("DejaVuSans*.ttf")):
        files[f"{FONTS}/{font.name}"] = File(font.read_bytes())
    files["etc/fonts/fonts.conf"] = File(FONTS_CONF.encode())
    copyright = tree / "usr/share/doc/r-base-core/copyright"
    return Package(
        name="r-base",
        version=_version(tree),
        build="lab_0",
        origin=f"r-base-core of Debian {suite}",
        depends=requires,
        license="GPL-2.0-or-later",
        licenses={"copyright": copyright.read_bytes()},
        files={path: _relocatable(path, file) for path, file in files.items()},
    )


def _version(tree: Path) -> str:
    header = (tree / "usr/share/R/include/Rversion.h").read_text()
    parts = re.findall(r'#define R_(?:MAJOR|MINOR) +"([\d.]+)"', header)
    return ".".join(parts)


def _home(tree: Path) -> dict[str, File]:
    """R's home as R has it where it was not told apart into /etc, /usr/lib and /usr/share."""
    found = {}
    places = {"usr/lib/R": "", "usr/share/R": "", "etc/R": "etc/"}
    for place, inside in places.items():
        for path in sorted((tree / place).rglob("*")):
            if path.is_file() and not path.is_symlink():
                mode = 0o755 if os.access(path, os.X_OK) else 0o644
                found[f"{inside}{path.relative_to(tree / place)}"] = File(_text(path), mode)
    environment = (tree / "usr/lib/R/etc/Renviron.ucf").read_text()
    # Debian's places for site libraries; without the line, R's own default is $R_HOME/site-library.
    kept = [line for line in environment.splitlines() if not line.startswith("R_LIBS_SITE=")]
    kept.append(f"FONTCONFIG_PATH=${{FONTCONFIG_PATH-'{PLACEHOLDER}/etc/fonts'}}")
    found["etc/Renviron"] = File("".join(f"{line}\n" for line in kept).encode())
    return found


def _text(path: Path) -> bytes:
    """A file's content, its texts' paths with the placeholder in place of /usr."""
    data = path.read_bytes()
    if b"\0" in data:
        return data
    text = MULTILIB.sub("", data.decode("utf-8", "surrogateescape"))
    for old in ("/usr/share/R", "/usr/lib/R", "/etc/R"):
        text = text.replace(old, HOME + ("/etc" if old == "/etc/R" else ""))
    return text.encode("utf-8", "surrogateescape")


def _libraries(tree: Path, files: dict[str, File]) -> dict[str, File]:
    """Every shared library that the programs in `files` need, as `lib/<soname>`."""
    places = [tree / "usr/lib/x86_64-linux-gnu", tree / "lib/x86_64-linux-gnu"]
    places += [places[0] / "blas", places[0] / "lapack"]
    own = {Path(path).name for path in files}
    found: dict[str, File] = {}
    queue = [file.data for file in files.values() if file.data.startswith(b"\x7fELF")]
    while queue:
        for name in _needed(queue.pop()):
            if name in found or name in own or OF_THE_NODE.match(name):
                continue
            paths = [place / name for place in places if (place / name).exists()]
            if not paths:
                raise SourceError(f"no package of R's closure holds {name}")
            found[name] = File(paths[0].read_bytes(), 0o755)
            queue.append(found[name].data)
    return {f"lib/{name}": file for name, file in found.items()}


def _needed(data: bytes) -> list[str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return _run("patchelf", "--print-needed", file.name).split()


def _relocatable(path: str, file: File) -> File:
    """The file; a program or library finds those of the environment by its own place."""
    if not file.data.startswith(b"\x7fELF"):
        return file
    up = "/".join([".."] * path.count("/"))
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(file.data)
        copy.flush()
        _run("patchelf", "--set-rpath", f"$ORIGIN/{up}/lib/R/lib:$ORIGIN/{up}/lib", copy.name)
        return File(Path(copy.name).read_bytes(), file.mode)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SourceError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
