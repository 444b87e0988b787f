"""What is offered to a depot, believed only as far as a trusted key vouches for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landbridge.bundle import delta, manifest
from landbridge.bundle.manifest import Entry
from landbridge.bundle.sign import MENDS, SIGNATURE, check, trusted_keys
from landbridge.errors import BundleError
from landbridge.files import scratch

# Gives the signature of that path in the bundle, None where there is none.
GetSignature = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Offer:
    """A release as its signed manifest describes it.

    Attributes:
        release: its name.
        entries: what is promised of each file.
        manifest: the manifest's bytes.
        signed: seconds since 1970; 0 where no trusted key vouches for it.
        signatures: by their path in the bundle, those that came.
    """

    release: str
    entries: Mapping[str, Entry]
    manifest: bytes
    signed: int
    signatures: Mapping[str, bytes]

    def places_of_signatures(self) -> list[str]:
        """Where a signed bundle with these files has signatures."""
        return delta.signatures(self.entries)


def admit(
    data: bytes,
    get_signature: GetSignature,
    origin: str,
    keys: Sequence[Path],
    *,
    allow_unsigned: bool,
) -> Offer:
    """Check the signature of a manifest before anything in it is looked at.

    Args:
        data: the manifest's bytes.
        get_signature: see `GetSignature`.
        origin: where they came from, for messages.
        keys: files of trusted public keys; none means those of this machine.
        allow_unsigned: whether signatures may be missing or by keys that nobody trusts; one that
            does not fit is refused all the same.

    Raises:
        BundleError: there is no good signature, or the manifest is damaged.
    """
    first = get_signature(SIGNATURE)
    with scratch() as folder:
        (folder / manifest.NAME).write_bytes(data)
        if first is not None:
            (folder / SIGNATURE).write_bytes(first)
        found = check(folder / manifest.NAME, folder / SIGNATURE, trusted_keys(keys))
    if found.state != "good" and not (allow_unsigned and found.state != "bad"):
        raise BundleError(
            f"{origin}: {SIGNATURE}: {found.state}: {found.detail}", MENDS[found.state]
        )
    release, entries = manifest.parse(data, f"{origin}/{manifest.NAME}")
    if manifest.release_of(release.rpartition("-")[0], entries) != release:
        raise BundleError(
            f"{origin}: {release} is not the release of these files", "build it again"
        )
    signatures = {path: get_signature(path) for path in delta.signatures(entries)}
    came = {path: signature for path, signature in signatures.items() if signature is not None}
    missing = sorted(signatures.keys() - came.keys())
    if missing and not allow_unsigned:
        raise BundleError(f"{origin}: {missing[0]}: missing", MENDS["missing"])
    return Offer(release, entries, data, found.signed if found.state == "good" else 0, came)
