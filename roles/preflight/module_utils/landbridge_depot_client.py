# SPDX-License-Identifier: Apache-2.0
"""Files of a release from a depot: over HTTPS, checked, continued where they were interrupted."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import shutil
import ssl
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

SEAL = 315532800  # 1980-01-01: a file with this time was checked, and not written to since
CHUNK = 1 << 20
WORKERS = 4
PAUSES = (1, 2, 4)  # seconds between tries that bring nothing
SILENCE_SECONDS = 60
PROGRAMS = ("bootstrap.sh",)
WHO = "landbridge_depot_client_certificate and _key, or landbridge_depot_user and _password"
AGAIN = (
    "see that it runs there (systemctl status landbridge-depot), then run this again: it goes on"
)


class Problem(Exception):
    """What is wrong, and how it is mended."""

    def __init__(self, what, mend):
        super().__init__(f"{what}; mend: {mend}")


class Passing(Exception):
    """A fault that may be gone at the next try."""


class Depot:
    """A depot, asked over one connection for each thread.

    `login` has ca, certificates, client_certificate, client_key, user, password; empty for none.
    """

    def __init__(self, url, login):
        self.url = url.rstrip("/")
        self.parts = urlsplit(self.url)
        if self.parts.scheme != "https" or not self.parts.hostname:
            raise Problem(f"landbridge_depot_url is {url}", "give https://DEPOT/landbridge")
        self.tls = context(login)
        self.headers = {"User-Agent": "landbridge", "Accept-Encoding": "identity"}
        if login["user"]:
            words = f"{login['user']}:{login['password']}".encode()
            self.headers["Authorization"] = f"Basic {b64encode(words).decode()}"
        self.own = threading.local()

    def text(self, path, largest=1 << 28):
        """A small file as bytes."""
        data = bytearray()

        def take(_start, chunk):
            data.extend(chunk)
            if len(data) > largest:
                raise Problem(f"{self.url}/{path} is larger than {largest} bytes", AGAIN)

        def again():
            data.clear()
            self.ask(path, 0, take)

        self.patiently(path, again, lambda: 0)
        return bytes(data)

    def bring(self, path, part, promised):
        """Write a file to `part`, going on at its end, and refuse what is not promised."""
        size = promised["size"]

        def length():
            return part.stat().st_size if part.exists() else 0

        def proceed():
            start = length()
            if start >= size:
                return
            with part.open("r+b" if part.exists() else "xb") as file:

                def take(at, chunk):
                    file.seek(at)
                    file.write(chunk)

                self.ask(path, start, take)
            if length() < size:
                raise Passing("it ended early")

        self.patiently(path, proceed, length)
        if size == 0:
            part.touch()
        if length() != size or digest(part) != promised["sha256"]:
            part.unlink()
            mend = f"look at the depot: landbridge bundle verify {Path(self.parts.path).name} there"
            raise Problem(f"{self.url}/{path} is not what the signed manifest promises", mend)

    def patiently(self, path, act, came):
        """Try until it works, or several tries in a row bring nothing."""
        failures = 0
        while True:
            before = came()
            try:
                return act()
            except (Passing, OSError, http.client.HTTPException) as error:
                self.own.connection = None
                if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                    raise Problem(*tls_refused(self.url, error)) from error
                failures = 1 if came() > before else failures + 1
                if failures > len(PAUSES):
                    said = getattr(error, "strerror", None) or error or type(error).__name__
                    raise Problem(
                        f"{self.url}/{path}: the depot gives no answer: {said}", AGAIN
                    ) from error
                time.sleep(PAUSES[failures - 1])

    def ask(self, path, start, take):
        """One GET from `start`; `take` gets each piece with its place."""
        connection = getattr(self.own, "connection", None)
        if connection is None:
            host, port = self.parts.hostname, self.parts.port
            connection = http.client.HTTPSConnection(
                host, port, timeout=SILENCE_SECONDS, context=self.tls
            )
            self.own.connection = connection
        headers = dict(self.headers, **({"Range": f"bytes={start}-"} if start else {}))
        connection.request("GET", f"{self.parts.path}/{quote(path)}", headers=headers)
        answer = connection.getresponse()
        if answer.status not in (200, 206):
            answer.read()
            self.refused(path, answer)
        at = start if answer.status == 206 else 0
        while True:
            chunk = answer.read(CHUNK)
            if not chunk:
                return
            take(at, chunk)
            at += len(chunk)

    def refused(self, path, answer):
        """What an error of HTTP means."""
        what = f"{self.url}/{path}: HTTP {answer.status} {answer.reason}"
        if answer.status in (400, 401, 403):
            raise Problem(f"{what}: the depot refuses this node", f"set {WHO}")
        if answer.status == 404:
            raise Problem(what, "see which releases it has: landbridge depot list, there")
        raise Passing(what)


def context(login):
    """TLS with the node's authorities and the given one."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    with usable("trust_certificates"):
        if login["certificates"]:
            made.load_verify_locations(cadata="\n".join(login["certificates"]))
    with usable(f"landbridge_depot_ca: {login['ca']}"):
        if login["ca"]:
            made.load_verify_locations(login["ca"])
    with usable(f"landbridge_depot_client_certificate: {login['client_certificate']}"):
        if login["client_certificate"]:
            made.load_cert_chain(login["client_certificate"], login["client_key"] or None)
    return made


@contextmanager
def usable(what):
    """Name what was given where OpenSSL cannot use it."""
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise Problem(f"{what} cannot be used: {error}", "give PEM, a file on the node") from error


def tls_refused(url, error):
    """What TLS says, and what to do about it."""
    said = getattr(error, "verify_message", "") or error.reason or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        mend = (
            "give the authority that it is from: as a PEM file on the node in landbridge_depot_ca, "
            "or in trust_certificates"
        )
        if "yet valid" in said or "expired" in said:
            mend = (
                f"look at the node's clock, which says {time.strftime('%Y-%m-%d %H:%M')}, and at it"
            )
        return f"the certificate of {url} is refused: {said}", mend
    return f"{url}: no TLS: {said}", f"set {WHO}, if the depot wants to know who asks"


# --- files -----------------------------------------------------------------------------------


def digest(path):
    """Hex sha256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(CHUNK), b""):
            found.update(block)
    return found.hexdigest()


def is_sealed(path, promised):
    """Whether a file is here as it was left once its content was checked."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime) == (promised["size"], SEAL)


def write(path, data):
    """Write a small file by temporary name, fsync and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".new-{path.name}")
    with new.open("wb") as stream:
        stream.write(data)
        os.fchmod(stream.fileno(), 0o644)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)


def put(part, place):
    """Seal a checked file, whose bytes are on the disk before, and give it its name."""
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.chmod(0o755 if place.name in PROGRAMS else 0o644)
    os.utime(part, (SEAL, SEAL))
    place.parent.mkdir(parents=True, exist_ok=True)
    part.replace(place)


def lacking(folder, entries):
    """Those of the entries that are not here and checked."""
    return {path: entry for path, entry in entries.items() if not is_sealed(folder / path, entry)}


def held(releases, manifests, wanted):
    """Where other releases of this node have wanted contents."""
    hashes, found = {entry["sha256"] for entry in wanted.values()}, {}
    for name, files in manifests.items():
        for path, entry in files.items():
            if entry["sha256"] in hashes and is_sealed(releases / name / path, entry):
                found[entry["sha256"]] = releases / name / path
    return found


def take(depot, folder, parts, wanted, known):
    """Link what is known, fetch the rest into the folder; returns the bytes that were fetched."""
    size = sum(entry["size"] for entry in wanted.values() if entry["sha256"] not in known)
    free = shutil.disk_usage(folder).free
    if size > free:
        what = f"{folder}: {size / 1e6:.1f} MB are to be fetched, {free / 1e6:.1f} MB are free"
        raise Problem(what, "free some space, or `landbridge depot prune --keep 1`")
    parts.mkdir(parents=True, exist_ok=True)

    def one(path):
        entry, place = wanted[path], folder / path
        if entry["sha256"] in known:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                place.unlink()
            os.link(known[entry["sha256"]], place)
            return
        # By its place, too: files of equal content come at the same time.
        part = parts / hashlib.sha256(f"{entry['sha256']} {path}".encode()).hexdigest()
        depot.bring(path, part, entry)
        put(part, place)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, sorted(wanted)))
    shutil.rmtree(parts)
    return size


@contextmanager
def alone(root):
    """Keep others, `landbridge depot` too, from changing the depot; wait for them."""
    root.mkdir(parents=True, exist_ok=True)
    file = root.with_name(f".{root.name}.busy")
    while True:
        stream = file.open("a")
        fcntl.flock(stream, fcntl.LOCK_EX)
        # Whoever held it has removed the file.
        if file.exists() and os.path.samestat(file.stat(), os.fstat(stream.fileno())):
            break
        stream.close()
    try:
        yield
    finally:
        file.unlink()
        stream.close()
