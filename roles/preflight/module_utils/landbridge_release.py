# SPDX-License-Identifier: Apache-2.0
"""A release's manifest: who signed it, and what of it a node takes from a depot far away."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
import time
from pathlib import Path

CARRY_ANEW = "carry the bundle anew"
KEYS = Path("/etc/landbridge/keys")
RECORD = Path("/var/lib/landbridge/release.json")
SIGNATURE = ".asc"
BEGIN, END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY = 6  # tag of an OpenPGP packet (RFC 9580, 5)
OF_BYTES = "00"  # signature of bytes as they are; a text's would overlook changed line ends
ENGLISH = {"LC_ALL": "C"}
SHOWN = 5  # so many files of a kind are named, the rest is counted


def problem(what, mend):
    """One finding."""
    return {"problem": what, "mend": mend}


def shorten(names):
    """The first few names and the count of the rest."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def sha256(path):
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def key_blocks(text):
    """The armored public keys in a text."""
    found = re.findall(f"{BEGIN}\n.*?{END}", text.replace("\r", ""), flags=re.DOTALL)
    return [block + "\n" for block in found]


def dearmored(block):
    """The packets of an armored key: after an empty line base64, then a line of checksum."""
    lines = [line.strip() for line in block.partition("\n\n")[2].splitlines()[:-1]]
    data = base64.b64decode("".join(line for line in lines if line[:1] != "="), validate=True)
    tag = data[0] & 0x3F if data[0] & 0x40 else (data[0] & 0x3C) >> 2
    if tag != PUBLIC_KEY:
        raise ValueError(f"packet {tag} instead of a public key")
    return data


def trusted_keys(given):
    """Packets of the trusted keys, and the problems with them."""
    if given:
        named = [(f"trusted key {number}", text) for number, text in enumerate(given, start=1)]
    else:
        files = sorted(KEYS.glob("*.asc"))
        named = [(str(file), file.read_text(encoding="utf-8", errors="replace")) for file in files]
    packets, problems = [], []
    for name, text in named:
        try:
            found = [dearmored(block) for block in key_blocks(text)]
        except (ValueError, IndexError):
            found = []
        if not found:
            mend = "put the signer's armored OpenPGP public key in its place"
            problems.append(problem(f"{name} is no OpenPGP public key", mend))
        packets += found
    return packets, problems


def ask_gpgv(file, keys, run):
    """What gpgv tells of each signature, its words by the first, and the last line for people."""
    with tempfile.TemporaryDirectory() as folder:
        ring = Path(folder, "keys.gpg")
        ring.write_bytes(b"".join(keys))
        command = ["gpgv", "--homedir", folder, "--keyring", str(ring), "--status-fd", "1"]
        command += ["--ignore-time-conflict", "--weak-digest", "SHA1"]
        _rc, out, err = run([*command, f"{file}{SIGNATURE}", str(file)], environ_update=ENGLISH)
    signatures = []
    for line in out.splitlines():
        _mark, word, *fields = line.split()
        if word == "NEWSIG":
            signatures.append({})
        elif signatures:
            signatures[-1].setdefault(word, []).extend(fields)
    said = err.strip().splitlines() or ["gpgv says nothing"]
    return signatures, said[-1]


def judge(told):
    """State and time of one signature, from gpgv's status (GnuPG's doc/DETAILS)."""
    valid = told.get("VALIDSIG")
    if valid is None:
        return ("unknown" if "NO_PUBKEY" in told else "bad"), 0
    signed, kind = int(valid[2]), valid[8]
    # An expired key's earlier signatures are good; of several dates the earliest counts.
    expired = min(map(int, told.get("KEYEXPIRED", ["0"])))
    lived = "EXPKEYSIG" in told and signed < expired
    good = kind == OF_BYTES and ("GOODSIG" in told or lived)
    return ("good", signed) if good else ("bad", 0)


def check_signature(file, keys, run):
    """When a file was signed by one of the keys (0 if it was not), and the problems."""
    if not Path(f"{file}{SIGNATURE}").is_file():
        mend = "sign the bundle with `landbridge bundle sign`, or set landbridge_signature: ignored"
        return 0, [problem(f"{file} is not signed: {file.name}{SIGNATURE} is missing", mend)]
    signatures, said = ask_gpgv(file, keys, run)
    verdicts = dict(map(judge, signatures))
    if "good" in verdicts:
        return verdicts["good"], []
    if set(verdicts) != {"unknown"}:
        return 0, [problem(f"the signature of {file} is bad ({said})", CARRY_ANEW)]
    # The fingerprint, where the signature tells it.
    signer = (signatures[0]["ERRSIG"][6:] or signatures[0]["NO_PUBKEY"])[0]
    what = f"{file} is signed by key {signer}, none of the {len(keys)} trusted"
    mend = "put the signer's public key into landbridge_trusted_keys, if you trust it"
    return 0, [problem(what, mend)]


def check_order(signed):
    """A bundle that was signed before the last one."""
    try:
        last = json.loads(RECORD.read_text(encoding="utf-8"))
        name, when = last["release"], int(last["signed"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [problem(f"{RECORD} cannot be read: {error}", "remove it")]
    if signed >= when:
        return []
    what = f"the bundle was signed {day(signed)}, before {name}, which this node has had"
    mend = "carry a newer bundle, or set landbridge_allow_downgrade: true"
    return [problem(f"{what} ({day(when)})", mend)]


def day(seconds):
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def signed_manifest(file, params, run):
    """When a manifest was signed (0 where that is ignored), and the problems with it."""
    if params["signature"] == "ignored":
        return 0, []
    keys, problems = trusted_keys(params["keys"])
    signed, found = check_signature(file, keys, run)
    problems += found
    if signed and not params["allow_downgrade"]:
        problems += check_order(signed)
    return signed, problems


def is_small(path, target):
    """Whether a node needs a file itself, because no client fetches and checks it from a depot.

    R checks nothing of what it fetches. By the metadata of RPMs check mode foresees what dnf will
    do, before the node trusts the depot.
    """
    folder, _, rest = path.partition("/")
    if folder == "cran":
        return not rest.startswith("binaries/") or rest.split("/")[1] == target or "/conda-" in path
    if folder in ("rpm", "conda", "pypi", "docs"):
        return rest.startswith(("keys/", "envs/", "requirements-", f"{target}/repodata/"))
    return not path.startswith("images/blobs/")
