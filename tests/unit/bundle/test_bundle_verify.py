"""Verify names everything that is wrong with a bundle, down to a single byte."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from landbridge.bundle import manifest, sbom, sign
from landbridge.bundle.verify import Verdict, verify
from landbridge.cli import sign as cli
from landbridge.errors import BundleError, LandbridgeError
from landbridge.files import scratch
from tests.unit import openpgp
from tests.unit.bundle import handmade
from tests.unit.openpgp import DAY, EARLY

WHEEL = "pypi/simple/tool/tool-1.0-py3-none-any.whl"
REPOSITORY = "rpm/el9-x86_64/repodata/repomd.xml"
TAMPERS = 100


@dataclass(frozen=True)
class Signed:
    """A signed bundle, and the public key that signed it."""

    root: Path
    keys: list[Path]
    ring: openpgp.Keys

    def verdict(self) -> Verdict:
        return verify(self.root, self.keys)

    def sign(self, owner: str, at: int = EARLY + DAY) -> None:
        for path in sign.signatures_of(self.root):
            self.ring.sign(owner, self.root / path.removesuffix(".asc"), at=at)


@pytest.fixture(scope="module")
def ring() -> Iterator[openpgp.Keys]:
    with scratch(Path("/dev/shm")) as folder, openpgp.keys(folder / "h") as made:
        made.make("release")
        made.make("stranger")
        yield made


@pytest.fixture
def signed(tmp_path: Path, ring: openpgp.Keys) -> Signed:
    key = tmp_path / "release.asc"
    key.write_text(ring.public("release"))
    made = Signed(handmade.bundle(tmp_path / "bundle"), [key], ring)
    made.sign("release")
    return made


def test_a_whole_bundle_is_ok(signed: Signed) -> None:
    seen: list[tuple[int, int]] = []
    verdict = verify(signed.root, signed.keys, seen=lambda *told: seen.append(told))
    assert verdict.ok
    assert verdict.problems() == []
    assert verdict.mend == ""
    assert (verdict.signature.state, verdict.signature.signed) == ("good", EARLY + DAY)
    assert sum(new for new, _ in seen) == verdict.size == seen[0][1]


def test_bad_missing_and_extra_files_are_named(signed: Signed) -> None:
    (signed.root / WHEEL).write_text("x")
    (signed.root / "bootstrap.sh").unlink()
    (signed.root / "conda/noarch/more.conda").touch()
    verdict = signed.verdict()
    assert verdict.bad == {WHEEL: f"1 bytes instead of {len(handmade.content_of(WHEEL))}"}
    assert verdict.missing == ["bootstrap.sh"]
    assert verdict.extra == ["conda/noarch/more.conda"]
    assert [line.split()[1].rstrip(":") for line in verdict.problems()] == [
        WHEEL,
        "bootstrap.sh",
        "conda/noarch/more.conda",
    ]
    assert verdict.mend == "carry the bundle over again"


def test_only_files_count_as_files(signed: Signed, tmp_path: Path) -> None:
    """A link's content may change behind it, and a pipe never ends."""
    shutil.move(signed.root / WHEEL, tmp_path / "wheel")
    (signed.root / WHEEL).symlink_to(tmp_path / "wheel")
    (signed.root / REPOSITORY).unlink()
    os.mkfifo(signed.root / REPOSITORY)
    (signed.root / "elsewhere").symlink_to(tmp_path)
    verdict = signed.verdict()
    assert verdict.bad[WHEEL] == "a link"
    assert verdict.bad[REPOSITORY] == "not a file"
    assert verdict.extra == ["elsewhere"]


def test_signatures_are_demanded(signed: Signed) -> None:
    for path in sign.signatures_of(signed.root):
        (signed.root / path).unlink()
    verdict = signed.verdict()
    assert verdict.missing == sign.signatures_of(signed.root)
    assert "bundle sign" in verdict.mend
    assert verify(signed.root, signed.keys, allow_unsigned=True).ok


def test_a_repositorys_signature_is_demanded_too(signed: Signed) -> None:
    (signed.root / f"{REPOSITORY}.asc").unlink()
    verdict = signed.verdict()
    assert verdict.signature.state == "good"
    assert verdict.missing == [f"{REPOSITORY}.asc"]


def test_signatures_by_a_stranger_are_refused(signed: Signed) -> None:
    signed.sign("stranger")
    verdict = signed.verdict()
    assert list(verdict.bad) == sign.signatures_of(signed.root)
    assert "not trusted" in verdict.bad[sign.SIGNATURE]
    assert "--key FILE" in verdict.mend
    assert verify(signed.root, signed.keys, allow_unsigned=True).ok


def test_a_signature_that_does_not_fit_is_never_allowed(signed: Signed) -> None:
    other = handmade.bundle(signed.root.parent / "other")
    (other / WHEEL).write_text("other")
    handmade.seal(other)
    shutil.copy(signed.root / sign.SIGNATURE, other)
    verdict = verify(other, signed.keys, allow_unsigned=True)
    assert verdict.bad["manifest.json"] == "it is not of this content"
    assert verdict.signature.state == "bad"


def test_signatures_of_nothing_are_extra(signed: Signed) -> None:
    more = signed.root / "rpm/el8-x86_64/repodata/repomd.xml.asc"
    more.parent.mkdir(parents=True)
    more.touch()
    assert signed.verdict().extra == ["rpm/el8-x86_64/repodata/repomd.xml.asc"]


def test_the_release_must_be_that_of_the_files(signed: Signed) -> None:
    """Whoever may sign could still give two contents one name."""
    release, entries = manifest.read_manifest(signed.root)
    for other, fault in (
        (f"small-{'0' * 12}", "is not that of its files"),
        (release.replace("small", "large"), "content.json says small-"),
    ):
        manifest.write_manifest(signed.root, other, entries)
        signed.sign("release")
        verdict = signed.verdict()
        assert list(verdict.bad) == ["manifest.json"]
        assert fault in verdict.bad["manifest.json"]


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON"])
def test_content_that_names_no_release_is_no_crash(signed: Signed, text: str) -> None:
    release, _ = manifest.read_manifest(signed.root)
    (signed.root / manifest.CONTENT).write_text(text)
    entries = manifest.describe(signed.root, manifest.files_of(signed.root), {})
    manifest.write_manifest(signed.root, release, entries)
    signed.sign("release")
    assert "content.json says None" in signed.verdict().bad["manifest.json"]


def test_an_sbom_that_lies_is_refused(signed: Signed) -> None:
    file = signed.root / sbom.NAME
    data = json.loads(file.read_text())
    data["components"] = [c for c in data["components"] if c["name"] != "tool"]
    file.write_text(json.dumps(data))
    handmade.seal(signed.root)
    signed.sign("release")
    verdict = signed.verdict()
    assert not verdict.ok
    assert verdict.sbom == [f"does not list {WHEEL}"]
    assert verdict.problems() == [f"bad      {sbom.NAME}: does not list {WHEEL}"]


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        verify(tmp_path)


# --- single bytes


def flip(file: Path, at: int, to: int) -> bytes:
    """Change one byte; returns what was there before."""
    before = file.read_bytes()
    file.write_bytes(before[:at] + bytes([to]) + before[at + 1 :])
    return before


def named(signed: Signed, *, allow_unsigned: bool) -> set[str]:
    """Paths that verify names, by its lists or by its error."""
    try:
        verdict = verify(signed.root, signed.keys, allow_unsigned=allow_unsigned)
    except LandbridgeError as error:
        return {error.message.partition(": ")[0].removeprefix(f"{signed.root}/")}
    assert verdict.ok == (not verdict.problems())
    return {line[9:].partition(": ")[0] for line in verdict.problems()}


def test_every_changed_byte_is_found_and_its_file_named(signed: Signed) -> None:
    """At random over all files, with more than their share for the files that others hang on."""
    chance = random.Random(3)
    important = [
        "manifest.json",
        "manifest.json.asc",
        REPOSITORY,
        f"{REPOSITORY}.asc",
        "rpm/el9-x86_64/repodata/primary.xml.gz",
        sbom.NAME,
        manifest.CONTENT,
    ]
    everything = list(manifest.all_files(signed.root))
    for number in range(TAMPERS):
        path = chance.choice(everything if number % 2 else important)
        file = signed.root / path
        at = chance.randrange(file.stat().st_size)
        to = chance.choice([byte for byte in range(256) if byte != file.read_bytes()[at]])
        before = flip(file, at, to)
        assert path in named(signed, allow_unsigned=False), f"{path}: byte {at} set to {to}"
        file.write_bytes(before)
    assert signed.verdict().ok, "every change was undone"


def test_without_a_signature_every_changed_byte_is_found_as_well(signed: Signed) -> None:
    """All of the manifest's, each made the digit or letter that is hardest to tell."""
    for path in sign.signatures_of(signed.root):
        (signed.root / path).unlink()
    file = signed.root / manifest.NAME
    text = file.read_bytes()
    assert verify(signed.root, allow_unsigned=True).ok
    for at, byte in enumerate(text):
        flip(file, at, byte ^ 1)
        assert named(signed, allow_unsigned=True), f"byte {at} ({chr(byte)!r})"
    file.write_bytes(text)
    assert verify(signed.root, allow_unsigned=True).ok


# --- the verbs


@pytest.fixture
def landbridge() -> typer.Typer:
    app = typer.Typer()
    app.command("sign")(cli.sign)
    app.command("verify")(cli.verify)
    return app


def test_the_verbs(signed: Signed, landbridge: typer.Typer, tmp_path: Path) -> None:
    run, key = CliRunner().invoke, str(signed.keys[0])
    done = run(landbridge, ["verify", str(signed.root), "--key", key])
    assert done.exit_code == 0, done.output
    assert "signature: good, by " in done.stdout
    assert ": ok (" in done.stdout
    done = run(landbridge, ["verify", str(signed.root), "--key", key, "--json"])
    assert json.loads(done.stdout)["ok"] is True
    assert json.loads(done.stdout)["signature"]["state"] == "good"
    (signed.root / sign.SIGNATURE).unlink()
    done = run(landbridge, ["verify", str(signed.root), "--key", key])
    assert done.exit_code == 1
    assert f"missing  {sign.SIGNATURE}\n  mend: sign the bundle" in done.stderr
    assert "signature: missing" in done.stdout
    done = run(landbridge, ["verify", str(signed.root), "--key", key, "--allow-unsigned"])
    assert done.exit_code == 0
    secret = tmp_path / "secret"
    secret.write_bytes(signed.ring._gpg("--export-secret-keys", "=release"))
    done = run(landbridge, ["sign", str(signed.root), "--sign-key", str(secret)])
    assert done.exit_code == 0, done.output
    assert "signed by " in done.stdout
    assert signed.verdict().ok
