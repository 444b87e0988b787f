"""OpenPGP's ASCII armor (RFC 4880, section 6)."""

from __future__ import annotations

import base64
import re

_CRC24_START = 0xB704CE
_CRC24_POLYNOMIAL = 0x1864CFB
_LINE = 64


def encode(data: bytes, kind: str) -> bytes:
    """Armor as gpg writes it: no headers, lines of 64, the checksum.

    Args:
        data: OpenPGP packets.
        kind: what stands after `BEGIN PGP`, such as `SIGNATURE`.
    """
    text = base64.b64encode(data)
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    begin, end = f"-----BEGIN PGP {kind}-----".encode(), f"-----END PGP {kind}-----".encode()
    return b"\n".join([begin, b"", *lines, b"=" + _checksum(data), end, b""])


def decode(text: bytes, kind: str) -> bytes:
    """The packets of every block of this kind, whatever stands around them and in their headers.

    Raises:
        ValueError: there is no such block, or one is damaged.
    """
    mark = re.escape(kind.encode())
    pattern = rb"^-----BEGIN PGP %b-----[ \t\r]*\n(.*?)^-----END PGP %b-----" % (mark, mark)
    blocks = re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    if not blocks:
        raise ValueError(f"no block BEGIN PGP {kind}")
    return b"".join(_body(block) for block in blocks)


def decode_strictly(text: bytes, kind: str) -> bytes:
    """The packets of a file that is one armored block exactly as `encode` writes it.

    So the checksum finds any changed byte of them, and there is no byte that does not count.

    Raises:
        ValueError: any byte is not as it must be.
    """
    data = decode(text, kind)
    if encode(data, kind) != text:
        raise ValueError(f"not exactly one block BEGIN PGP {kind} as gpg writes it")
    return data


def _body(block: bytes) -> bytes:
    """The packets of one block: headers, an empty line, base64, `=` and the checksum."""
    lines = [line.strip() for line in block.splitlines()]
    encoded = lines[lines.index(b"") + 1 :]
    checksum = next((line[1:] for line in encoded if line.startswith(b"=")), None)
    data = base64.b64decode(
        b"".join(line for line in encoded if not line.startswith(b"=")), validate=True
    )
    if checksum is not None and checksum != _checksum(data):
        raise ValueError("the checksum is wrong")
    return data


def _checksum(data: bytes) -> bytes:
    """The CRC-24 in base64."""
    crc = _CRC24_START
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC24_POLYNOMIAL
    return base64.b64encode(crc.to_bytes(3, "big"))
