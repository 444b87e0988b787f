"""OpenPGP signatures of a bundle's manifest and of its dnf repositories, by gpg and gpgv."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from landbridge.bundle import _armor, manifest
from landbridge.bundle._keyring import PACKAGE as _PACKAGE
from landbridge.bundle._keyring import keyring
from landbridge.errors import BundleError, InputError
from landbridge.files import scratch, write_file
from landbridge.process import run, tail

SIGNATURE = f"{manifest.NAME}.asc"
KEYS = Path("/etc/landbridge/keys")
# What to do about a signature in this state.
MENDS = {
    "bad": "carry the bundle over again; if it stays so, sign it again where it was built",
    "unknown": f"give the public key with --key FILE, or put it into {KEYS}",
    "missing": "sign the bundle with 'landbridge bundle sign', or pass --allow-unsigned",
}

_PUBLIC_KEY_PACKET = 6
# Numbers of RFC 4880: RSA, and RSA for signing only.
_RSA = ("1", "3")
_RSA_BITS = 3072
# Signature of bytes as they are; a text's would overlook changed line ends.
_OF_BYTES = "00"


@dataclass(frozen=True)
class SigningKey:
    """Who signs.

    Attributes:
        name: a file with a secret key, armored or not; or a fingerprint or user id in the
            caller's own keyring, where gpg-agent, smart cards and pinentry do their work.
        passphrase_file: a file whose first line is the key's passphrase.
    """

    name: str
    passphrase_file: Path | None = None


@dataclass(frozen=True)
class Signature:
    """What became of checking one signature.

    Attributes:
        state: `good`, `bad` (does not fit), `unknown` (by no trusted key), `missing`.
        fingerprint: of the primary key, upper-case hex; of an unknown one what the signature says.
        signed: seconds since 1970, from the signature itself; not to be relied on unless good.
        detail: why it is not good.
        altered: the signature is sound, but it is not of this content.
    """

    state: Literal["good", "bad", "unknown", "missing"]
    fingerprint: str = ""
    signed: int = 0
    detail: str = ""
    altered: bool = False


def signatures_of(root: Path) -> list[str]:
    """Relative paths of the signatures that a signed bundle must have."""
    repositories = sorted(root.glob("rpm/*/repodata/repomd.xml"))
    return [SIGNATURE, *(f"{path.relative_to(root).as_posix()}.asc" for path in repositories)]


def sign(root: Path, key: SigningKey) -> str:
    """Sign the manifest and each repository of RPMs.

    A good signature by the same key stays as it is, so that nothing changes where nothing did.
    Files are signed one after the other: a key's passphrase is asked for once.

    Returns:
        The fingerprint of the primary key.

    Raises:
        BundleError: there is no bundle at `root`.
        InputError: the key cannot be used, or is not RSA of 3072 bits or more.
        LandbridgeError: gpg is missing.
    """
    manifest.read_manifest(root)
    with _signer(key) as signer, scratch() as folder:
        public = folder / "key.gpg"
        export = [*signer.gpg, "--no-armor", "--output", public, "--export", signer.fingerprint]
        run(export, package=_PACKAGE)
        for path in signatures_of(root):
            data, signature = root / path.removesuffix(".asc"), root / path
            old = check(data, signature, [public])
            if old.state != "good":
                write_file(signature, _make(signer, data, folder))
                _require_good(data, signature, public)
    return signer.fingerprint


def check(data: Path, signature: Path, keys: Sequence[Path]) -> Signature:
    """Check one detached signature; of several in the file, a good one by a trusted key counts.

    Args:
        data: the signed file.
        signature: one armored block exactly as gpg writes it, so that any changed byte is found.
        keys: files of public keys, armored or not.

    Raises:
        InputError: a key file is none.
        LandbridgeError: gpgv is missing.
    """
    if not signature.exists():
        return Signature("missing", detail="there is none")
    # Reading a pipe would never end.
    if not (signature.is_file() and data.is_file()):
        return Signature("bad", detail="it, or what it signs, is not a file")
    try:
        packets = _armor.decode_strictly(signature.read_bytes(), "SIGNATURE")
    except (OSError, ValueError) as error:
        return Signature("bad", detail=f"cannot be read: {error}")
    with scratch() as folder:
        keyring, file = folder / "keyring.gpg", folder / "signature"
        keyring.write_bytes(b"".join(_public_key(key) for key in keys))
        file.write_bytes(packets)
        # A clock that is wrong must not make a node unusable.
        gpgv: list[str | Path] = [
            "gpgv",
            "--ignore-time-conflict",
            "--weak-digest",
            "SHA1",
            "--status-fd",
            "1",
        ]
        gpgv += ["--homedir", folder, "--keyring", keyring, file, data]
        done = run(gpgv, package=_PACKAGE, check=False)
    found = [_judge(lines) for lines in _by_signature(done.stdout)]
    order = ("good", "bad", "unknown")
    unread = Signature("bad", detail=f"gpgv: {tail(done, 3)}")
    return min(found, key=lambda one: order.index(one.state), default=unread)


def trusted_keys(given: Sequence[Path]) -> list[Path]:
    """The given files of public keys; where none is given, those of this machine."""
    return list(given) or sorted(KEYS.glob("*.asc"))


def require_signature(root: Path, keys: Sequence[Path]) -> Signature:
    """The good signature of a bundle's manifest.

    Args:
        root: the bundle.
        keys: files of public keys; none means those of this machine (`trusted_keys`).

    Raises:
        BundleError: it is bad, missing, or by no trusted key.
    """
    found = check(root / manifest.NAME, root / SIGNATURE, trusted_keys(keys))
    if found.state != "good":
        raise BundleError(f"{root / SIGNATURE}: {found.state}: {found.detail}", MENDS[found.state])
    return found


def signed_time(root: Path) -> int:
    """When the manifest's signature says that it was made, unchecked; 0 where there is none."""
    return check(root / manifest.NAME, root / SIGNATURE, ()).signed


class _Signer(NamedTuple):
    """A gpg command line with its options, and the key that it is to sign with."""

    gpg: list[str | Path]
    fingerprint: str


@contextmanager
def _signer(key: SigningKey) -> Iterator[_Signer]:
    """The key from its file, in a keyring of its own and only for so long, or the caller's."""
    gpg: list[str | Path] = ["gpg", "--batch", "--yes"]
    if key.passphrase_file is not None:
        if not key.passphrase_file.is_file():
            raise InputError(f"{key.passphrase_file}: no such file", "name the passphrase's file")
        gpg += ["--pinentry-mode", "loopback", "--passphrase-file", key.passphrase_file]
    if not Path(key.name).is_file():
        yield _Signer(gpg, _fingerprint(gpg, key.name, ["--", key.name]))
        return
    with keyring() as home:
        gpg += ["--homedir", home]
        mend = "export one with 'gpg --armor --export-secret-keys FINGERPRINT'"
        done = run([*gpg, "--import", "--", key.name], package=_PACKAGE, check=False)
        if done.returncode:
            raise InputError(f"{key.name}: cannot be read as a secret key: {tail(done)}", mend)
        yield _Signer(gpg, _fingerprint(gpg, key.name, []))


def _fingerprint(gpg: Sequence[str | Path], name: str, which: Sequence[str]) -> str:
    """The one usable secret key's (fields: GnuPG's doc/DETAILS).

    Raises:
        InputError: there is none, or more than one, or it is of a kind that not every node takes.
    """
    command = [*gpg, "--with-colons", "--list-secret-keys", *which]
    lines = run(command, package=_PACKAGE, check=False).stdout.splitlines()
    records = [line.split(":") for line in lines]
    primary = [fields for fields in records if fields[0] == "sec"]
    if len(primary) != 1:
        found = f"{len(primary)} secret keys" if primary else "no secret key"
        raise InputError(
            f"{name}: {found} of that name", "give a secret key's file, or a full fingerprint"
        )
    valid = [r for r in records if r[0] in ("sec", "ssb") and r[1] not in ("e", "r", "i", "d")]
    signing = [fields for fields in valid if "s" in fields[11]]
    if primary[0] not in valid or not signing:
        raise InputError(f"{name}: expired, revoked or not for signing", "use another key")
    if any(f[3] not in _RSA or int(f[2]) < _RSA_BITS for f in signing):
        raise InputError(
            f"{name}: not RSA of {_RSA_BITS} bits or more, so hosts in FIPS mode would refuse it",
            "make one with 'gpg --quick-generate-key NAME rsa4096 sign'",
        )
    return next(fields[9] for fields in records if fields[0] == "fpr")


def _make(signer: _Signer, data: Path, folder: Path) -> bytes:
    """A new signature, armored."""
    output = folder / "signature"
    command = [*signer.gpg, "--local-user", signer.fingerprint, "--digest-algo", "SHA512"]
    command += ["--no-armor", "--no-textmode", "--output", output, "--detach-sign", data]
    done = run(command, package=_PACKAGE, env=_terminal(), check=False)
    if done.returncode:
        raise InputError(
            f"{data}: gpg cannot sign: {tail(done)}",
            "give the key's passphrase with --passphrase-file, or use gpg-agent",
        )
    return _armor.encode(output.read_bytes(), "SIGNATURE")


def _require_good(data: Path, signature: Path, public: Path) -> None:
    """Never leave a signature behind that does not hold."""
    new = check(data, signature, [public])
    if new.state != "good":
        signature.unlink()
        raise InputError(f"{data}: gpg made a signature that is {new.state}: {new.detail}")


def _terminal() -> dict[str, str]:
    """Where a pinentry of text may ask: gpg itself has a pipe for its standard input."""
    if "GPG_TTY" in os.environ or not sys.stdin.isatty():
        return {}
    return {"GPG_TTY": os.ttyname(sys.stdin.fileno())}


def _public_key(path: Path) -> bytes:
    """The packets of a file of public keys.

    Raises:
        InputError: it cannot be read or is none.
    """
    mend = "export one with 'gpg --armor --export FINGERPRINT'"
    try:
        data = path.read_bytes()
        if data.startswith(b"-----BEGIN") or b"\n-----BEGIN" in data:
            data = _armor.decode(data, "PUBLIC KEY BLOCK")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a public key: {error}", mend) from error
    # The packet's kind in the old and in the new form (RFC 4880, section 4.2).
    first = data[0] if data else 0
    kind = first & 0x3F if first & 0x40 else (first & 0x3C) >> 2
    if not first & 0x80 or kind != _PUBLIC_KEY_PACKET:
        raise InputError(f"{path}: holds no OpenPGP public key", mend)
    return data


def _by_signature(status: str) -> list[dict[str, list[str]]]:
    """gpgv's status lines for each signature: keyword and fields (GnuPG's doc/DETAILS)."""
    groups: list[dict[str, list[str]]] = []
    for line in status.splitlines():
        _, keyword, *fields = line.split(" ")
        if keyword == "NEWSIG":
            groups.append({})
        elif groups:
            groups[-1].setdefault(keyword, []).extend(fields)
    return groups


def _judge(lines: dict[str, list[str]]) -> Signature:
    """What the status lines of one signature mean."""
    valid = lines.get("VALIDSIG")
    if valid is None:
        return _not_valid(lines)
    fingerprint, signed, kind = valid[9], int(valid[2]), valid[8]
    if kind != _OF_BYTES:
        return Signature("bad", fingerprint, signed, "made with --textmode or for another purpose")
    if "GOODSIG" in lines:
        return Signature("good", fingerprint, signed)
    if "EXPKEYSIG" in lines:
        # Told of the primary key and of its subkeys: the first to expire counts.
        if signed < min(map(int, lines.get("KEYEXPIRED", ["0"]))):
            return Signature("good", fingerprint, signed)
        return Signature("bad", fingerprint, signed, "made after its key expired")
    why = "its key is revoked" if "REVKEYSIG" in lines else "expired"
    return Signature("bad", fingerprint, signed, why)


def _not_valid(lines: dict[str, list[str]]) -> Signature:
    """A signature that is wrong or cannot be checked."""
    error = lines.get("ERRSIG")
    if error is None:
        detail = "it is not of this content"
        return Signature("bad", detail=detail, altered="BADSIG" in lines)
    key = error[6] if len(error) > 6 and error[6] != "-" else error[0]
    signed = int(error[4])
    if "NO_PUBKEY" in lines:
        return Signature("unknown", key, signed, f"made by key {key}, which is not trusted here")
    return Signature("bad", key, signed, f"gpgv cannot check it (code {error[5]})")
