"""RPM repositories for tests: versions, advisories, modules, signatures, ways to reach them."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.unit.small_upstreams import tool

KEY_OWNER = "landbridge-test"

SPEC = """\
Name: {source}
Version: {version}
Release: {release}
Summary: A test package
License: MIT
BuildArch: noarch
{lines}
%description
A test package.
%files
"""
SUBPACKAGE = """\
%package -n {name}
Summary: A test package
{lines}
%description -n {name}
A test package.
%files -n {name}
"""


@dataclass(frozen=True)
class Rpm:
    """One build of a source RPM.

    Attributes:
        source: its name, also of its first package.
        version: version; the release is `release`.
        requires: names (with versions) that the first package requires.
        others: further packages built from it: name, and what it requires.
        tags: further lines of the first package's header (`Recommends: x`).
    """

    source: str
    version: str
    requires: tuple[str, ...] = ()
    others: tuple[tuple[str, ...], ...] = ()
    tags: tuple[str, ...] = ()
    release: str = "1"


# Every target needs a Python that the toolkit runs on.
PYTHON = Rpm("python3", "3.12.11")


# Every RPM is built once in a run of the tests.
_BUILT = tempfile.TemporaryDirectory()


@cache
def build(rpm: Rpm) -> list[Path]:
    """The RPM files, without signatures."""
    work = Path(tempfile.mkdtemp(dir=_BUILT.name))
    lines = [*(f"Requires: {need}" for need in rpm.requires), *rpm.tags]
    text = SPEC.format(
        source=rpm.source, version=rpm.version, release=rpm.release, lines="\n".join(lines)
    )
    for name, *requires in rpm.others:
        needs = "\n".join(f"Requires: {need}" for need in requires)
        text += SUBPACKAGE.format(name=name, lines=needs)
    (work / "a.spec").write_text(text)
    defines = ["--define", f"_topdir {work}/top", "--define", "source_date_epoch_from_changelog 0"]
    defines += ["--define", "use_source_date_epoch_as_buildtime 1"]
    # 2024-05-06 07:08:09 UTC is when everything here was built.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1714979289"}
    tool("rpmbuild", "-bb", *defines, "--quiet", work / "a.spec", env=environment)
    return sorted((work / "top/RPMS/noarch").glob("*.rpm"))


def repository(folder: Path, rpms: Sequence[Rpm]) -> Path:
    """A repository of unsigned RPMs and one of Python, with a key file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for rpm in (*rpms, PYTHON):
        for file in build(rpm):
            shutil.copy2(file, folder)
    tool("createrepo_c", "--quiet", folder)
    return folder


def add_metadata(repo: Path, kind: str, text: str, compression: str = "gz") -> None:
    """Put a text into a repository as the metadata of this kind."""
    with tempfile.TemporaryDirectory() as work:
        name = {"modules": "modules.yaml", "updateinfo": "updateinfo.xml"}[kind]
        file = Path(work) / name
        file.write_text(text)
        options = [f"--mdtype={kind}", f"--compress-type={compression}"]
        tool("modifyrepo_c", *options, file, repo / "repodata")


class Signer:
    """A throw-away OpenPGP key; its home is gone with the `with` block."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "GNUPGHOME": str(home)}
        key = ["--batch", "--passphrase", "", "--quick-gen-key", KEY_OWNER, "rsa2048"]
        tool("gpg", "--quiet", *key, env=self.environment)

    def public(self, file: Path) -> Path:
        """Write the armored public key."""
        file.write_text(tool("gpg", "--armor", "--export", KEY_OWNER, env=self.environment))
        return file

    def sign_repomd(self, repo: Path) -> None:
        """Sign a repository's metadata as dnf's `repo_gpgcheck` wants it."""
        repomd = repo / "repodata/repomd.xml"
        options = ["--batch", "--yes", "--quiet", "--armor", "--detach-sign"]
        tool("gpg", *options, repomd, env=self.environment)

    def sign_rpms(self, folder: Path) -> None:
        """Sign every RPM in a folder, and index it anew."""
        defines = ["--define", "__gpg /usr/bin/gpg", "--define", f"_gpg_name {KEY_OWNER}"]
        tool("rpmsign", *defines, "--addsign", *sorted(folder.glob("*.rpm")), env=self.environment)
        tool("createrepo_c", "--quiet", folder)


@contextmanager
def signer() -> Iterator[Signer]:
    """A new key. gpg's agent wants a socket, whose path may not be long: near the root."""
    with tempfile.TemporaryDirectory(prefix="lb-gpg-", dir="/tmp") as home:
        try:
            one = Signer(Path(home))
            yield one
        finally:
            kill = ["gpgconf", "--homedir", home, "--kill", "all"]
            subprocess.run(kill, check=True)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files, also as a proxy; for those who know the password, if the server wants any."""

    def send_head(self):  # type: ignore[no-untyped-def]
        wanted, seen = self.server.credentials, self.headers.get("Authorization", "")  # type: ignore[attr-defined]
        if wanted and seen != "Basic " + base64.b64encode(wanted.encode()).decode():
            self.send_error(401)
            return None
        # What a proxy is asked for is a whole URL.
        self.path = urlsplit(self.path).path
        return super().send_head()

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@contextmanager
def served(folder: Path, credentials: str = "", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve a folder on loopback; yields its URL."""
    handler = partial(_Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.credentials = credentials  # type: ignore[attr-defined]
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Authority:
    """A site's own certificate authority."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.certificate = folder / "ca.pem"
        new = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test authority"]
        out = ["-keyout", folder / "ca.key", "-out", self.certificate]
        tool("openssl", "req", *new, *out)

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issuer = ["-CA", self.certificate, "-CAkey", self.folder / "ca.key"]
        new = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
        extension = ["-addext", "subjectAltName=IP:127.0.0.1"]
        tool("openssl", "req", *new, *issuer, *extension, "-keyout", key, "-out", certificate)
        return certificate, key

    def server(self) -> ssl.SSLContext:
        """A server that lets in whom this authority has given a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("server"))
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        return context
