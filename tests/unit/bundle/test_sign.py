"""Signatures by the real gpg, read by the real gpgv: made, kept, and refused for every reason."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from landbridge.bundle import _armor, _keyring, sign
from landbridge.bundle.sign import Signature, SigningKey, check
from landbridge.errors import BundleError, InputError, LandbridgeError
from landbridge.files import scratch
from tests.unit import openpgp
from tests.unit.bundle import handmade
from tests.unit.openpgp import DAY, EARLY

SHORT = Path("/dev/shm")
PASSPHRASE = "correct horse"
REPOSITORY = "rpm/el9-x86_64/repodata/repomd.xml"


class Ring(openpgp.Keys):
    """Throw-away keys, also as files."""

    def gpg(self, *words: str | Path, passphrase: str = "") -> bytes:
        command: list[str | Path] = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--yes"]
        command += ["--pinentry-mode=loopback", "--passphrase", passphrase]
        done = subprocess.run([*command, *words], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def fingerprint(self, owner: str) -> str:
        lines = self.gpg("--with-colons", "--list-keys", f"={owner}").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))

    def trust(self, *owners: str) -> list[Path]:
        """Files of these public keys."""
        files = [self.home / f"{owner}.asc" for owner in owners]
        for file, owner in zip(files, owners, strict=True):
            file.write_text(self.public(owner))
        return files

    def secret(self, owner: str, passphrase: str = "") -> str:
        """A file with the secret key."""
        file = self.home / f"{owner}.secret.asc"
        data = self.gpg("--armor", "--export-secret-keys", f"={owner}", passphrase=passphrase)
        file.write_bytes(data)
        return str(file)


@pytest.fixture(scope="module")
def ring() -> Iterator[Ring]:
    with scratch(SHORT) as folder, openpgp.keys(folder / "h") as made:
        ring = Ring(made.home)
        for owner in ("release", "stranger", "withdrawn"):
            ring.make(owner)
        ring.make("short", lives="1y")
        yield ring


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return handmade.bundle(tmp_path / "bundle")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "manifest.json"
    file.write_text("promised\n")
    return file


def signed(ring: Ring, data: Path, *options: str | Path, owner: str = "release") -> Path:
    """A signature of `data` in the present, canonical like every one that gpg writes."""
    file = data.with_name(f"{data.name}.asc")
    words = ("--armor", "--local-user", f"={owner}", *options, "--output", file)
    ring.gpg(*words, "--detach-sign", data)
    return file


def signatures(bundle: Path) -> dict[str, bytes]:
    return {path: (bundle / path).read_bytes() for path in sign.signatures_of(bundle)}


# --- what is signed, and how


def test_a_bundle_is_signed_with_a_key_from_a_file(bundle: Path, ring: Ring) -> None:
    before = time.time() - 1
    fingerprint = sign.sign(bundle, SigningKey(ring.secret("release")))
    assert fingerprint == ring.fingerprint("release")
    assert sign.signatures_of(bundle) == [
        "manifest.json.asc",
        "rpm/el10-x86_64/repodata/repomd.xml.asc",
        "rpm/el9-x86_64/repodata/repomd.xml.asc",
    ]
    for path in sign.signatures_of(bundle):
        found = check(
            bundle / path.removesuffix(".asc"), bundle / path, ring.trust("stranger", "release")
        )
        assert (found.state, found.fingerprint) == ("good", fingerprint)
        assert before <= found.signed <= time.time() + 1
    assert sign.signed_time(bundle) >= before


def test_signatures_are_of_sha512_and_name_no_version(bundle: Path, ring: Ring) -> None:
    sign.sign(bundle, SigningKey(ring.secret("release")))
    packets = ring.gpg("--list-packets", bundle / sign.SIGNATURE).decode()
    assert "digest algo 10," in packets
    assert b"Version" not in (bundle / sign.SIGNATURE).read_bytes()


def test_gpg_itself_accepts_them(bundle: Path, ring: Ring) -> None:
    sign.sign(bundle, SigningKey(ring.secret("release")))
    for path in sign.signatures_of(bundle):
        ring.gpg("--verify", bundle / path, bundle / path.removesuffix(".asc"))


def test_good_signatures_over_unchanged_content_stay(bundle: Path, ring: Ring) -> None:
    key = SigningKey(ring.secret("release"))
    sign.sign(bundle, key)
    # A second signature in another second would differ.
    ring.sign("release", bundle / "manifest.json", at=EARLY + DAY)
    first = signatures(bundle)
    sign.sign(bundle, key)
    assert signatures(bundle) == first
    (bundle / REPOSITORY).write_text("changed")
    handmade.seal(bundle)
    sign.sign(bundle, key)
    second = signatures(bundle)
    changed = {path for path in first if first[path] != second[path]}
    assert changed == {"manifest.json.asc", f"{REPOSITORY}.asc"}


def test_another_keys_signatures_are_replaced(bundle: Path, ring: Ring) -> None:
    sign.sign(bundle, SigningKey(ring.secret("stranger")))
    sign.sign(bundle, SigningKey(ring.secret("release")))
    assert sign.require_signature(bundle, ring.trust("release")).state == "good"


def test_a_key_of_the_callers_own_ring_signs(
    bundle: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(ring.home))
    for name in (ring.fingerprint("release"), "=release"):
        assert sign.sign(bundle, SigningKey(name)) == ring.fingerprint("release")
    assert sign.require_signature(bundle, ring.trust("release")).state == "good"


def test_the_users_own_settings_change_nothing(
    bundle: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(ring.home))
    settings = ring.home / "gpg.conf"
    settings.write_text("armor\ncomment by hand\nemit-version\n")
    try:
        sign.sign(bundle, SigningKey("=release"))
    finally:
        settings.unlink()
    assert sign.require_signature(bundle, ring.trust("release")).state == "good"


def test_a_passphrase_comes_from_its_file_alone(
    bundle: Path, ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--quick-generate-key", "locked", "rsa3072", "sign", "never")
    ring.gpg(*words, passphrase=PASSPHRASE)
    key, right, wrong = ring.secret("locked", PASSPHRASE), tmp_path / "right", tmp_path / "wrong"
    right.write_text(f"{PASSPHRASE}\n")
    wrong.write_text("incorrect\n")
    monkeypatch.delenv("GPG_TTY", raising=False)
    for file in (wrong, None):
        with pytest.raises(InputError, match="cannot sign") as caught:
            sign.sign(bundle, SigningKey(key, file))
        assert "--passphrase-file" in str(caught.value)
        assert not (bundle / sign.SIGNATURE).exists()
    assert sign.sign(bundle, SigningKey(key, right)) == ring.fingerprint("locked")
    with pytest.raises(InputError, match="nowhere: no such file"):
        sign.sign(bundle, SigningKey(key, tmp_path / "nowhere"))


def test_nothing_of_a_keys_file_is_left(
    bundle: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.secret("release")
    with scratch(SHORT) as memory:
        monkeypatch.setattr(_keyring, "_MEMORY", memory)
        sign.sign(bundle, SigningKey(key))
        assert list(memory.iterdir()) == []
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert str(memory) not in running.stdout


@pytest.mark.parametrize("algorithm", ["rsa2048", "ed25519", "dsa2048"])
def test_keys_that_fips_forbids_are_refused(bundle: Path, ring: Ring, algorithm: str) -> None:
    ring.gpg("--quick-generate-key", algorithm, algorithm, "sign", "never")
    with pytest.raises(InputError, match="not RSA of 3072 bits or more"):
        sign.sign(bundle, SigningKey(ring.secret(algorithm)))
    assert not (bundle / sign.SIGNATURE).exists()


def test_a_key_must_be_one_and_usable(
    bundle: Path, ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(ring.home))
    both = tmp_path / "both"
    both.write_text("".join(Path(ring.secret(o)).read_text() for o in ("release", "stranger")))
    public, none = ring.trust("release")[0], tmp_path / "none"
    none.write_text("no key")
    for name, fault in (
        (str(both), "2 secret keys"),
        (str(public), "no secret key"),
        (str(none), "cannot be read as a secret key"),
        ("nobody@example", "no secret key"),
        ("--version", "no secret key"),
        (ring.secret("short"), "expired, revoked or not for signing"),
    ):
        with pytest.raises(InputError, match=fault):
            sign.sign(bundle, SigningKey(name))


def test_only_a_bundle_is_signed(tmp_path: Path, ring: Ring) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        sign.sign(tmp_path, SigningKey(ring.secret("release")))


def test_missing_tools_are_named(
    bundle: Path, ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey(ring.secret("release"))
    sign.sign(bundle, key)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LandbridgeError, match="gpgv: not found") as caught:
        sign.require_signature(bundle, ring.home.glob("nothing"))
    assert caught.value.mend == "install gnupg2"
    with pytest.raises(LandbridgeError, match=r"gpg(conf)?: not found"):
        sign.sign(bundle, key)


# --- what a signature is worth


def test_unknown_missing_and_bad(data: Path, ring: Ring) -> None:
    keys = ring.trust("release")
    assert check(data, data.with_name("manifest.json.asc"), keys).state == "missing"
    file = signed(ring, data, owner="stranger")
    found = check(data, file, keys)
    assert (found.state, found.fingerprint) == ("unknown", ring.fingerprint("stranger"))
    assert found.fingerprint in found.detail
    assert check(data, file, []).state == "unknown", "no key at all"
    signed(ring, data)
    data.write_text("promised otherwise\n")
    assert check(data, file, keys) == Signature(
        "bad", detail="it is not of this content", altered=True
    )


def test_of_several_signatures_one_good_one_is_enough(data: Path, ring: Ring) -> None:
    file = signed(ring, data, "--local-user", "=stranger")
    for owner in ("release", "stranger"):
        found = check(data, file, ring.trust(owner))
        assert (found.state, found.fingerprint) == ("good", ring.fingerprint(owner))
    assert check(data, file, ring.trust("short")).state == "unknown"


def test_a_signing_subkey_counts_as_its_primary_key(data: Path, ring: Ring) -> None:
    ring.gpg("--quick-generate-key", "parent", "rsa3072", "cert", "never")
    ring.gpg("--quick-add-key", ring.fingerprint("parent"), "rsa3072", "sign", "never")
    file = signed(ring, data, owner="parent")
    found = check(data, file, ring.trust("parent"))
    assert (found.state, found.fingerprint) == ("good", ring.fingerprint("parent"))


def test_a_key_that_expired_later_does_not_matter(data: Path, ring: Ring) -> None:
    file = ring.sign("short", data, at=EARLY + 30 * DAY)
    found = check(data, file, ring.trust("short"))
    assert (found.state, found.signed) == ("good", EARLY + 30 * DAY)


def test_after_its_expiry_a_key_signs_nothing(data: Path, ring: Ring) -> None:
    ring.make("later", lives="1y")
    file = ring.sign("later", data, at=EARLY + 30 * DAY)
    expiry = "20200110T000000"
    ring.gpg("--faked-system-time", "20200102T000000", "--quick-set-expire",
             ring.fingerprint("later"), expiry)  # fmt: skip
    assert check(data, file, ring.trust("later")) == Signature(
        "bad", ring.fingerprint("later"), EARLY + 30 * DAY, "made after its key expired"
    )


@pytest.mark.parametrize(("day", "state"), [(5, "good"), (20, "bad")])
def test_a_subkeys_own_expiry_counts(data: Path, ring: Ring, day: int, state: str) -> None:
    """Its primary key expires later; gpgv tells of both."""
    owner, then = f"parent {day}", ("--faked-system-time", str(EARLY))
    ring.gpg(*then, "--quick-generate-key", owner, "rsa3072", "cert", "2020-06-01")
    ring.gpg(*then, "--quick-add-key", ring.fingerprint(owner), "rsa3072", "sign", "2020-02-01")
    file = ring.sign(owner, data, at=EARLY + day * DAY)
    subkey = ring.gpg("--with-colons", "--list-keys", f"={owner}").decode().splitlines()[-1]
    ring.gpg(
        *then, "--quick-set-expire", ring.fingerprint(owner), "2020-01-10", subkey.split(":")[9]
    )
    assert check(data, file, ring.trust(owner)).state == state


def test_the_local_clock_does_not_matter(data: Path, ring: Ring) -> None:
    ahead = int(time.time()) + 1000 * DAY
    ring.make("future", at=ahead)
    file = ring.sign("future", data, at=ahead + DAY)
    found = check(data, file, ring.trust("future"))
    assert (found.state, found.signed) == ("good", ahead + DAY)


def test_a_revoked_key_is_bad(data: Path, ring: Ring) -> None:
    file = signed(ring, data, owner="withdrawn")
    assert check(data, file, ring.trust("withdrawn")).state == "good"
    name = f"{ring.fingerprint('withdrawn')}.rev"
    certificate = (ring.home / "openpgp-revocs.d" / name).read_text().replace(":-----", "-----")
    (ring.home / "revocation").write_text(certificate)
    ring.gpg("--import", ring.home / "revocation")
    found = check(data, file, ring.trust("withdrawn"))
    assert (found.state, found.detail) == ("bad", "its key is revoked")


def test_an_expired_signature_is_bad(data: Path, ring: Ring) -> None:
    early = ("--faked-system-time", "20200601T000000!", "--default-sig-expire", "1d")
    found = check(data, signed(ring, data, *early), ring.trust("release"))
    assert (found.state, found.detail) == ("bad", "expired")


def test_a_signature_of_text_is_bad(data: Path, ring: Ring) -> None:
    # It would hold for other line ends, too.
    file = signed(ring, data, "--textmode")
    assert check(data, file, ring.trust("release")).state == "bad"


def test_a_signature_by_sha1_is_bad(data: Path, ring: Ring) -> None:
    file = signed(ring, data, "--digest-algo", "SHA1", "--allow-weak-digest-algos")
    assert check(data, file, ring.trust("release")).state == "bad"


def test_what_is_no_signature_is_bad(data: Path, ring: Ring, tmp_path: Path) -> None:
    keys = ring.trust("release")
    right = signed(ring, data).read_bytes()
    for number, wrong in enumerate(
        (
            b"",
            b"\x00",
            b"-----BEGIN PGP SIGNATURE-----\n",
            right[:-1],
            right + b"\n",
            b"x" + right,
            right * 2,
            right.replace(b"\n\n", b"\nComment: by hand\n\n"),
            right.replace(b"\n", b"\r\n"),
            keys[0].read_bytes(),
            _armor.encode(b"\x88\x00", "SIGNATURE"),
            _armor.encode(b"", "SIGNATURE"),
        )
    ):
        file = tmp_path / f"{number}.asc"
        file.write_bytes(wrong)
        assert check(data, file, keys).state == "bad", wrong
    (tmp_path / "folder.asc").mkdir()
    assert check(data, tmp_path / "folder.asc", keys).state == "bad"


def test_data_that_is_gone_is_not_signed(data: Path, ring: Ring) -> None:
    file = signed(ring, data)
    data.unlink()
    assert check(data, file, ring.trust("release")).state == "bad"


def test_any_changed_byte_of_a_signature_is_found(data: Path, ring: Ring) -> None:
    right = signed(ring, data).read_bytes()
    packets = _armor.decode_strictly(right, "SIGNATURE")
    assert _armor.encode(packets, "SIGNATURE") == right, "as gpg writes it"
    for at in range(len(right)):
        for change in (0x01, 0x20, 0x80):
            wrong = bytearray(right)
            wrong[at] ^= change
            with pytest.raises(ValueError, match=r"."):
                _armor.decode_strictly(bytes(wrong), "SIGNATURE")


# --- trusted keys


def test_keys_may_be_armored_binary_or_several_in_a_file(
    data: Path, ring: Ring, tmp_path: Path
) -> None:
    file = signed(ring, data)
    binary = tmp_path / "release.gpg"
    binary.write_bytes(ring.gpg("--export", "=release"))
    several = tmp_path / "several.asc"
    several.write_text(
        "Ours:\n\n" + ring.public("stranger") + ring.public("release").replace("\n", "\r\n")
    )
    for key in (binary, several):
        assert check(data, file, [key]).state == "good"


def test_what_is_no_public_key_is_refused_by_name(data: Path, ring: Ring, tmp_path: Path) -> None:
    file, damaged = signed(ring, data), tmp_path / "damaged.asc"
    text = ring.public("release")
    damaged.write_text(text.replace(text[200:204], "AAAA"))
    empty, other = tmp_path / "empty.asc", tmp_path / "text.asc"
    empty.touch()
    other.write_text("no key")
    secret, gone = Path(ring.secret("release")), tmp_path / "gone.asc"
    for key in (damaged, empty, other, secret, gone, tmp_path, file):
        with pytest.raises(InputError, match=re.escape(str(key))) as caught:
            check(data, file, [key])
        assert "--export" in caught.value.mend


def test_without_keys_given_those_of_the_machine_count(
    bundle: Path, ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "keys"
    monkeypatch.setattr(sign, "KEYS", machine)
    sign.sign(bundle, SigningKey(ring.secret("release")))
    assert sign.trusted_keys([]) == []
    with pytest.raises(BundleError, match=r"manifest\.json\.asc: unknown: .*not trusted") as caught:
        sign.require_signature(bundle, [])
    assert "--key FILE" in caught.value.mend
    machine.mkdir()
    (machine / "ours.asc").write_text(ring.public("release"))
    (machine / "README").write_text("not read")
    assert sign.require_signature(bundle, []).fingerprint == ring.fingerprint("release")
    assert sign.trusted_keys([tmp_path / "other"]) == [tmp_path / "other"]


def test_an_unsigned_bundle_is_refused_with_its_mend(bundle: Path, ring: Ring) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json\.asc: missing") as caught:
        sign.require_signature(bundle, ring.trust("release"))
    assert "landbridge bundle sign" in caught.value.mend
    assert sign.signed_time(bundle) == 0


def test_signing_replaces_files_and_never_writes_into_them(bundle: Path, ring: Ring) -> None:
    (bundle / sign.SIGNATURE).write_text("shared with another release")
    other = bundle.parent / "other.asc"
    os.link(bundle / sign.SIGNATURE, other)
    sign.sign(bundle, SigningKey(ring.secret("release")))
    assert other.read_text() == "shared with another release"
    assert sign.require_signature(bundle, ring.trust("release")).state == "good"
