"""The lab's container images in a real registry.

`tools/busybox:1` is one static binary; `tools/userland:1` has glibc beside it, and so runs what is
mounted into it: the environments of a node.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landbridge.errors import SourceError
from tests.lab import paths, roots
from tests.lab.platforms import platform

IMAGE = "tools/busybox:1"
USERLAND = "tools/userland:1"
# What programs and libraries of conda environments name and do not bring.
LIBRARIES = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
]
BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"
CREATED = "2024-01-01T00:00:00Z"  # no clock: the same binary gives the same digests
TIMESTAMP = 1_704_067_200
CONFIG = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "127.0.0.1:0"}}
"""
START_SECONDS = 20
MEND = "install the Debian packages of the Makefile's LAB_PACKAGES"


def storage() -> Path:
    """The registry's data directory, with the images pushed into it; built if missing."""
    if not BUSYBOX.exists() or "INTERP" in _run("readelf", "--segments", str(BUSYBOX)):
        raise SourceError(f"{BUSYBOX} is not a static busybox", MEND)
    key = paths.key(Path(__file__), BUSYBOX, roots.root(platform("el9")).parent.name)
    return paths.product("images", key, _build) / "registry"


@contextlib.contextmanager
def registry(data: Path) -> Iterator[str]:
    """Run a registry over `data` on loopback; yields its `host:port` and stops it at the end.

    Raises:
        SourceError: docker-registry is missing or did not start.
    """
    with tempfile.TemporaryDirectory() as scratch:
        config, log = Path(scratch, "config.yml"), Path(scratch, "log")
        config.write_text(CONFIG.format(storage=data))
        with log.open("w") as stream:
            try:
                process = subprocess.Popen(
                    ["docker-registry", "serve", str(config)], stdout=stream, stderr=stream
                )
            except FileNotFoundError as error:
                raise SourceError("docker-registry: not found", MEND) from error
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait()


def layout(target: Path, name: str, files: Mapping[str, tuple[bytes, int] | str]) -> None:
    """Write an OCI layout with one image of one layer.

    Args:
        target: directory of the layout.
        name: the image's name in it (`org.opencontainers.image.ref.name`).
        files: bytes and mode of each path, or what a symbolic link points at.
    """
    tar = _tar(files)
    layer = _blob(target, gzip.compress(tar, mtime=TIMESTAMP))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
        "history": [{"created": CREATED, "created_by": "the Landbridge lab"}],
    }
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json", **_blob(target, _json(config))},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar+gzip", **layer}],
    }
    entry = {"mediaType": manifest["mediaType"], **_blob(target, _json(manifest))}
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    (target / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [entry]}))
    (target / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def busybox(binary: Path) -> dict[str, tuple[bytes, int] | str]:
    """A root file system of `binary`, a link for each of its applets, and two users."""
    applets = _run(str(binary), "--list").split()
    files: dict[str, tuple[bytes, int] | str] = {f"bin/{a}": "busybox" for a in applets}
    files["bin/busybox"] = (binary.read_bytes(), 0o755)
    return files | {"etc/passwd": (PASSWD.encode(), 0o644), "etc/group": (GROUP.encode(), 0o644)}


def userland(root: Path) -> dict[str, tuple[bytes, int] | str]:
    """The same with the C library of a node's `root`, the older one, and those beside it."""
    folder = root / "usr/lib/x86_64-linux-gnu"
    files = busybox(BUSYBOX) | {"lib64/ld-linux-x86-64.so.2": "../lib/ld-linux-x86-64.so.2"}
    for name in LIBRARIES:
        files[f"lib/{name}"] = ((folder / name).read_bytes(), 0o755)
    return files


def _build(target: Path) -> None:
    images = {IMAGE: busybox(BUSYBOX), USERLAND: userland(roots.root(platform("el9")))}
    data = target / "registry"
    data.mkdir()
    with registry(data) as address:
        options = ["--quiet", "--insecure-policy", "--dest-tls-verify=false"]
        for number, (name, files) in enumerate(images.items()):
            source = target / f"layout{number}"
            layout(source, name, files)
            _run("skopeo", "copy", *options, f"oci:{source}:{name}", f"docker://{address}/{name}")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the registry says it listens on; it chooses a free port itself."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if match := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return match[1]
        time.sleep(0.05)
    raise SourceError(f"the registry did not start: {log.read_text()[-800:]}", MEND)


def _tar(files: Mapping[str, tuple[bytes, int] | str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(files):
            info, file = tarfile.TarInfo(path), files[path]
            info.mtime = TIMESTAMP
            if isinstance(file, str):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, file, 0o777
                tar.addfile(info)
            else:
                info.size, info.mode = len(file[0]), file[1]
                tar.addfile(info, io.BytesIO(file[0]))
    return buffer.getvalue()


def _blob(target: Path, data: bytes) -> dict[str, Any]:
    """Store `data` by its digest; returns the descriptor's digest and size."""
    digest = hashlib.sha256(data).hexdigest()
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]}: not found", MEND) from error
    if done.returncode != 0:
        raise SourceError(f"{' '.join(command)} failed: {done.stderr.strip()[-800:]}", MEND)
    return done.stdout
