"""RPM files: spec files written from a Debian tree, built by rpmbuild."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from landbridge.errors import SourceError
from tests.lab.deb2rpm import Tree, evr, rpm_name
from tests.lab.extras import Extra, extras
from tests.lab.platforms import Platform

# One date for all: the same inputs give the same RPMs.
EPOCH = "1735689600"

_MACROS = {
    "_build_id_links": "none",
    "__os_install_post": "%{nil}",
    "debug_package": "%{nil}",
    "_binary_payload": "w1.zstdio",
    "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
    "_buildhost": "lab",
    "use_source_date_epoch_as_buildtime": "1",
    "vendor": "Landbridge lab",
    # Debian's dependencies are carried over by name; only sonames and pkg-config are found by rpm.
    "__python_provides": "%{nil}",
    "__python_requires": "%{nil}",
    "__pythondist_provides": "%{nil}",
    "__pythondist_requires": "%{nil}",
    "__perl_provides": "%{nil}",
    "__perl_requires": "%{nil}",
    "__perllib_provides": "%{nil}",
    "__perllib_requires": "%{nil}",
    "__script_requires": "%{nil}",
    "__check_files": "%{nil}",
    "_unpackaged_files_terminate_build": "0",
}


def build(spec: str, work: Path, out: Path) -> None:
    """Build `spec` into an RPM file in `out`; `work` is a folder for it alone.

    Raises:
        SourceError: rpmbuild refused the spec; its last lines are in the message.
    """
    work.mkdir(parents=True, exist_ok=True)
    file = work / "package.spec"
    file.write_text(spec, encoding="utf-8")
    places = {"_topdir": work / "top", "_rpmdir": out, "_dbpath": work / "db"}
    defines = [f"--define={name} {value}" for name, value in {**_MACROS, **places}.items()]
    done = subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--nodeps", *defines, file],
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SourceError(f"rpmbuild {file}: {done.stderr[-1500:]}")


def header(
    name: str, version: str, release: str, summary: str, *, arch: str, epoch: str = ""
) -> str:
    """The head of a spec file, up to its relations."""
    return (
        f"Name: {name}\n"
        + (f"Epoch: {epoch}\n" if epoch else "")
        + f"Version: {version}\nRelease: {release}\nSummary: {summary[:70]}\n"
        + f"License: Various\nBuildArch: {arch}\n"
    )


@dataclass
class Converter:
    """Makes RPMs of the packages in `tree`; users unknown to `base` are created by the RPMs."""

    platform: Platform
    tree: Tree
    base: Tree

    def all(self, out: Path) -> None:
        """Convert every package into `out`, a few at a time."""
        out.mkdir(parents=True, exist_ok=True)
        self.extras = extras(self.platform)
        self.creators = self._creators()
        work = out.parent / ".work"
        with ThreadPoolExecutor((os.cpu_count() or 2) + 1) as pool:
            list(pool.map(lambda name: self.one(name, work / name, out), self.tree.packages))
        shutil.rmtree(work)

    def one(self, package: str, work: Path, out: Path) -> None:
        """Convert one package into `out`."""
        image = work / "image"
        image.mkdir(parents=True)
        extra = self.extras.get(package, Extra())
        files = self._link_files(package, extra, image)
        build(self._spec(package, extra, files, image), work, out)
        shutil.rmtree(work)

    def _link_files(self, package: str, extra: Extra, image: Path) -> list[str]:
        """Hard-link the package's files into `image`; returns its lines of %files."""
        lines = []
        conffiles = {
            line.split()[0] for line in self.tree.info(package, "conffiles").splitlines() if line
        }
        paths = self._paths(package)
        used = {str(Path(path).parent) for path in paths}
        for path in paths:
            source, place = self.tree.root / path.lstrip("/"), image / path.lstrip("/")
            mode = source.lstat().st_mode
            owner = self.tree.owners(path)
            if stat.S_ISDIR(mode):
                # A folder shared by packages needs no owner, unless only this line would make it.
                if self.tree.shared[path] > 1 and path in used and owner == ("root", "root"):
                    continue
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, place, follow_symlinks=False)
            attributes = (
                "" if stat.S_ISLNK(mode) else f"%attr({mode & 0o7777:o},{owner[0]},{owner[1]}) "
            )
            kind = "%dir " if stat.S_ISDIR(mode) else ""
            kind = "%config(noreplace) " if path in conffiles else kind
            lines.append(f'{attributes}{kind}"{path.replace("%", "%%")}"')
        for path, target in extra.links:
            place = image / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
            lines.append(f'"{path}"')
        for path, edit in extra.edits:
            place = image / path.lstrip("/")
            original = self.tree.root / path.lstrip("/")
            place.unlink()  # a link to the original, which stays as it is
            place.write_text(edit(original.read_text(encoding="utf-8")), encoding="utf-8")
            shutil.copystat(original, place)
        return lines

    def _spec(self, package: str, extra: Extra, files: list[str], image: Path) -> str:
        stanza = self.tree.packages[package]
        name = rpm_name(package)
        epoch, version, release = evr(stanza["Version"], self.platform.name)
        if extra.version:
            epoch, version = "", extra.version
        full = (f"{epoch}:" if epoch else "") + f"{version}-{release}"
        required = {*self.tree.required(package), *extra.requires}
        provided = [*extra.provides, *([f"{package} = {full}"] if package != name else [])]
        summary = stanza.get("Description", package).split("\n")[0]
        arch = "noarch" if stanza["Architecture"] == "all" else "x86_64"
        unneeded = f"%global __requires_exclude {extra.unneeded}\n" if extra.unneeded else ""
        return "\n".join(
            [
                unneeded + header(name, version, release, summary, arch=arch, epoch=epoch),
                *(f"Requires: {item}" for item in sorted(required)),
                *(f"Provides: {item}" for item in provided),
                *(f"Conflicts: {item}" for item in extra.conflicts),
                f"%description\n{summary}",
                f"%install\ncp -al {image}/. %{{buildroot}}/",
                "%files",
                *files,
                self._scripts(package),
                extra.script,
            ]
        )

    def _scripts(self, package: str) -> str:
        """Users before the files, presets after them: what RHEL's macros would do."""
        text = "".join(f"{line}\n" for line in self.creators.get(package, []))
        pre = f"%pre\n{text}" if text else ""
        units = self._units(package)
        if not units:
            return pre
        return (
            f"{pre}%post\nif [ $1 -eq 1 ]; then systemctl --no-reload preset {units} || :; fi\n"
            "%preun\nif [ $1 -eq 0 ]; then "
            f"systemctl --no-reload disable --now {units} || :; fi\n"
        )

    def _paths(self, package: str) -> list[str]:
        extra = self.extras.get(package, Extra())
        listed = dict.fromkeys([*self.tree.files[package], *extra.files])
        return [path for path in listed if not path.startswith(extra.without)]

    def _units(self, package: str) -> str:
        folder = "/usr/lib/systemd/system/"
        return " ".join(
            path.removeprefix(folder)
            for path in self._paths(package)
            if path.startswith(folder)
            and path.endswith((".service", ".socket", ".timer", ".path"))
            and "@" not in path
            and path.count("/") == folder.count("/")
        )

    def _creators(self) -> dict[str, list[str]]:
        """Commands that create the users and groups which `base` lacks, by the package to run them.

        Raises:
            SourceError: a user of the tree is made by no package's script that could be found.
        """
        commands: dict[str, list[str]] = {}
        old_groups, old_users = set(self.base.groups.values()), set(self.base.users.values())
        for group in sorted(set(self.tree.groups.values()) - old_groups):
            line = f"getent group {group} >/dev/null || groupadd -r {group}"
            commands.setdefault(self._maker(group), []).append(line)
        for user in sorted(set(self.tree.users.values()) - old_users):
            group = f"-g {user}" if user in self.tree.groups.values() else "-g nobody"
            line = (
                f"getent passwd {user} >/dev/null || "
                f"useradd -r {group} -d / -s /usr/sbin/nologin {user}"
            )
            commands.setdefault(self._maker(user), []).append(line)
        return commands

    def _maker(self, name: str) -> str:
        for package in self.tree.packages:
            if package in self.base.packages:
                continue
            configured = [
                (self.tree.root / path.lstrip("/")).read_text()
                for path in self.tree.files[package]
                if path.startswith("/usr/lib/sysusers.d/") and path.endswith(".conf")
            ]
            script = self.tree.info(package, "postinst") + "\n".join(configured)
            if name in script.replace('"', " ").replace("'", " ").split():
                return package
        raise SourceError(f"no package of the tree seems to create user or group '{name}'")
