"""The signed RPM repository of everything offered to a platform."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab import deb2rpm, debian, extras, paths, r_makeconf, rpmbuild
from tests.lab.platforms import Platform

KEY_NAME = "RPM-GPG-KEY-landbridge-lab"
_OWNER = "Landbridge lab (throw-away key) <lab@landbridge.invalid>"
_DATA = Path(__file__).parent / "data"


def repository(platform: Platform) -> Path:
    """The repository `.../<target>/` of everything offered: `Packages/`, `repodata/`."""
    return _product(platform) / platform.target


def key_file(platform: Platform) -> Path:
    """The public key that signed its packages."""
    return _product(platform) / KEY_NAME


def base_packages(platform: Platform) -> list[Path]:
    """The RPM files of what a node has from the start."""
    product = _product(platform)
    names = (product / "base.txt").read_text().split()
    return [product / platform.target / "Packages" / name for name in names]


def _product(platform: Platform) -> Path:
    trees = debian.trees(platform)
    code = [Path(module.__file__ or "") for module in (deb2rpm, extras, r_makeconf, rpmbuild)]
    data = (_DATA / "names.txt", _DATA / "dropped.txt")
    inputs = paths.key(trees.name, *code, Path(__file__), *data)
    return paths.product(f"rpm/{platform.name}", inputs, lambda to: _make(platform, trees, to))


def _make(platform: Platform, trees: Path, to: Path) -> None:
    base, full = deb2rpm.Tree(trees / "base"), deb2rpm.Tree(trees / "full")
    packages = to / platform.target / "Packages"
    with paths.stage(f"convert {len(full.packages)} packages to RPM"):
        rpmbuild.Converter(platform, full, base).all(packages)
    first = {deb2rpm.rpm_name(name) for name in base.packages}
    of_base = [rpm.name for rpm in sorted(packages.iterdir()) if _name(rpm) in first]
    (to / "base.txt").write_text("\n".join(of_base) + "\n")
    _hand_made(platform, full.root, packages, to / ".work")
    shutil.rmtree(to / ".work")
    _check_closed(packages)
    with paths.stage("sign and index"):
        sign(list(packages.iterdir()))
        shutil.copy(signing_home() / KEY_NAME, to / KEY_NAME)
        subprocess.run(
            ["createrepo_c", "--quiet", "--general-compress-type=gz", packages.parent], check=True
        )


def _check_closed(packages: Path) -> None:
    """Everything that an RPM of the repository requires is provided by one of them.

    Raises:
        SourceError: something is not; each package and what it lacks is named.
    """
    files = list(packages.iterdir())

    def tags(form: str) -> set[str]:
        command = ["rpm", "-qp", "--nosignature", "--queryformat", form, *map(str, files)]
        return set(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
        )

    provided = tags("[%{PROVIDENAME}\n]") | tags("[%{FILENAMES}\n]") | {""}
    lacking = [
        line
        for line in sorted(tags("[%{=NAME} needs %{REQUIRENAME}\n]"))
        if (what := line.partition(" needs ")[2]) not in provided and not what.startswith("rpmlib(")
    ]
    if lacking:
        raise SourceError("the lab's RPM repository is not closed:\n" + "\n".join(lacking))


def _name(rpm: Path) -> str:
    return rpm.name.removesuffix(".rpm").rsplit(".", 1)[0].rsplit("-", 2)[0]


def signing_home() -> Path:
    """GnuPG's home with the lab's one key, made once per cache, and the public key beside it."""
    return paths.product("signing", paths.key(_OWNER), _make_key)


def _make_key(home: Path) -> None:
    home.chmod(0o700)
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    options = ["--pinentry-mode=loopback", "--passphrase", ""]
    subprocess.run(
        [*command, *options, "--quick-generate-key", _OWNER, "rsa3072", "sign", "never"],
        check=True,
        capture_output=True,
    )
    with (home / KEY_NAME).open("wb") as file:
        subprocess.run([*command, "--export", "--armor", _OWNER], check=True, stdout=file)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def sign(files: list[Path]) -> None:
    home, workers = signing_home(), os.cpu_count() or 2
    defines = [f"--define=_gpg_name {_OWNER}", "--define=__gpg /usr/bin/gpg"]
    defines.append(f"--define=_gpg_path {home}")

    def one(part: list[Path]) -> None:
        command = ["rpmsign", "--addsign", *defines, *map(str, part)]
        environment = {**os.environ, "GNUPGHOME": str(home)}
        subprocess.run(command, check=True, capture_output=True, env=environment)

    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, [files[start::workers] for start in range(workers)]))
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def _hand_made(platform: Platform, full: Path, out: Path, work: Path) -> None:
    """RHEL packages that no Debian package corresponds to."""
    rpmbuild.build(
        rpmbuild.header(
            "container-selinux",
            "2.229",
            f"1.{platform.name}",
            "The lab's placeholder",
            arch="noarch",
        )
        + "%description\nHolds nothing: SELinux is disabled on the lab's nodes, and Debian has\n"
        "no such package. It is here so that what requires the name can be resolved.\n%files\n",
        work / "container-selinux",
        out,
    )
    locale = work / "glibc-langpack-en" / "image" / "usr/lib/locale"
    locale.mkdir(parents=True)
    debian.in_root(
        full, ["localedef", "-i", "en_US", "-f", "UTF-8", "--no-archive", "/tmp/en_US.utf8"]
    )
    shutil.move(full / "tmp/en_US.utf8", locale / "en_US.utf8")
    rpmbuild.build(
        rpmbuild.header(
            "glibc-langpack-en", "2", f"1.{platform.name}", "Locale en_US.UTF-8", arch="x86_64"
        )
        + "Requires: glibc\n%description\nThe locale en_US.UTF-8; RHEL has all of en_*.\n"
        f"%install\ncp -a {locale.parents[2]}/. %{{buildroot}}/\n"
        "%files\n/usr/lib/locale/en_US.utf8\n",
        work / "glibc-langpack-en",
        out,
    )
