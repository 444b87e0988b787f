"""Real repositories of every kind, as small as they can be, for the tests of the bundle."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MANY_DEFINES = ["--define", "__gpg /usr/bin/gpg", "--define", "_gpg_name landbridge-test"]

SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: A test package
License: MIT
BuildArch: noarch
{requires}
%description
A test package.
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo {name} > %{{buildroot}}/usr/share/{name}/file
%files
/usr/share/{name}
"""


def tool(*command: str | Path, **options: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def build_rpm(work: Path, name: str, version: str, *requires: str) -> Path:
    spec = work / f"{name}.spec"
    lines = "\n".join(f"Requires: {need}" for need in requires)
    spec.write_text(SPEC.format(name=name, version=version, requires=lines))
    tool("rpmbuild", "-bb", "--define", f"_topdir {work}/top", "--quiet", spec)
    return next((work / "top/RPMS/noarch").glob(f"{name}-{version}-*.rpm"))


def rpm_repository(folder: Path, packages: dict[str, tuple[str, ...]]) -> None:
    """A signed repository; `packages` maps name to (version, requirement, ...)."""
    work = folder / "work"
    work.mkdir(parents=True)
    # gpg's agent wants a socket, whose path may not be long: its home stays near the root.
    home = (
        Path("/tmp")
        / f"lb-gpg-{os.getpid()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"
    )
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    try:
        key = ["--batch", "--passphrase", "", "--quick-gen-key", "landbridge-test", "rsa2048"]
        tool("gpg", "--quiet", *key, env=environment)
        repo = folder / "repo"
        repo.mkdir()
        for name, (version, *requires) in packages.items():
            rpm = build_rpm(work, name, version, *requires)
            tool("rpmsign", *MANY_DEFINES, "--addsign", rpm, env=environment)
            shutil.copy(rpm, repo)
        public = tool("gpg", "--armor", "--export", "landbridge-test", env=environment)
        (folder / "RPM-GPG-KEY-test").write_text(public)
        tool("createrepo_c", "--quiet", repo)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(work)


def conda_package(channel: Path, subdir: str, name: str, version: str, *depends: str) -> None:
    data = f"{name} {version}\n".encode()
    entry = {"_path": f"share/{name}", "path_type": "hardlink", "size_in_bytes": len(data)}
    entry["sha256"] = hashlib.sha256(data).hexdigest()
    index = {"name": name, "version": version, "build": "0", "build_number": 0}
    index |= {"depends": list(depends), "subdir": subdir}
    files = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": [entry], "paths_version": 1}).encode(),
        f"share/{name}": data,
    }
    file = channel / subdir / f"{name}-{version}-0.tar.bz2"
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:bz2") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def index_channel(channel: Path) -> None:
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    code = (
        "import asyncio, os, sys; from rattler.index import index_fs;"
        "asyncio.run(index_fs(sys.argv[1])); os._exit(0)"
    )
    tool(sys.executable, "-c", code, channel)


def conda_channel(folder: Path) -> Path:
    """A channel in which app and other need lib."""
    conda_package(folder, "linux-64", "app", "1.0", "lib >=1")
    conda_package(folder, "linux-64", "other", "1.0", "lib")
    conda_package(folder, "noarch", "lib", "1.0")
    index_channel(folder)
    return folder


def cran_mirror(folder: Path, stanzas: dict[str, dict[str, str]]) -> None:
    contrib = folder / "src/contrib"
    texts = []
    for name, fields in stanzas.items():
        file = r_package(contrib, name, fields)
        md5 = hashlib.md5(file.read_bytes()).hexdigest()  # noqa: S324 - CRAN's own choice
        texts.append(f"{_stanza(name, fields)}MD5sum: {md5}\n")
    (contrib / "PACKAGES").write_text("\n".join(texts))


def cran_archive(folder: Path, name: str, **fields: str) -> Path:
    """An old version beside the mirror's index."""
    return r_package(folder / "src/contrib/Archive" / name, name, fields)


def r_package(folder: Path, name: str, fields: dict[str, str]) -> Path:
    """A source package of a DESCRIPTION; the same bytes whenever it is made."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _stanza(name, fields)
    file = folder / f"{name}_{fields['Version']}.tar.gz"
    with gzip.GzipFile(file, "wb", mtime=0) as packed, tarfile.open(None, "w", packed) as tar:
        member = tarfile.TarInfo(f"{name}/DESCRIPTION")
        member.size = len(text.encode())
        tar.addfile(member, io.BytesIO(text.encode()))
    return file


def _stanza(name: str, fields: dict[str, str]) -> str:
    return f"Package: {name}\n" + "".join(f"{k}: {v}\n" for k, v in fields.items())


def wheel(folder: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return path


@contextmanager
def registry(folder: Path, *names: str) -> Iterator[str]:
    """A registry on loopback that holds a one-layer image under each name; yields host:port."""
    folder.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
        "log": {"level": "error"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    server = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(address)
        layout = _image(folder / "layout")
        for name in names:
            tool(
                "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--preserve-digests",
                f"oci:{layout}", f"docker://{address}/{name}",
            )  # fmt: skip
        yield address
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str) -> None:
    host, port = address.split(":")
    for _ in range(100):
        with socket.socket() as probe:
            if not probe.connect_ex((host, int(port))):
                return
        time.sleep(0.05)
    raise AssertionError(f"no registry at {address}")


def _image(layout: Path) -> Path:
    """An OCI layout with one image, one empty layer, written by hand."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w"):
        pass
    data = layer.getvalue()
    diff = f"sha256:{hashlib.sha256(data).hexdigest()}"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(data, "layer.v1.tar")],
    }
    entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return layout
