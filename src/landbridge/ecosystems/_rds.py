"""Values as R's `saveRDS` writes them: what `readRDS` of any R since 2.3 reads.

Serialization version 2 in XDR, as "R Internals" (Serialization Formats) has it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

_VERSION = 2
# The R that writes, and the oldest that reads version 2.
_R_2_3_0 = 0x020300
_SYMBOL, _PAIR, _STRING, _INTEGERS, _REALS, _STRINGS, _ITEMS = 1, 2, 9, 13, 14, 16, 19
_END_OF_PAIRS, _REFERENCE = 254, 255
_IS_OBJECT, _HAS_ATTRIBUTES, _HAS_TAG = 1 << 8, 1 << 9, 1 << 10
_ASCII, _UTF8 = 1 << 18, 1 << 15
_MISSING = -1

Attributes = Mapping[str, "Value"]
_NONE: Attributes = MappingProxyType({})


class Strings(NamedTuple):
    """A character vector; None is NA."""

    values: Sequence[str | None]
    attributes: Attributes = _NONE


class Integers(NamedTuple):
    """An integer vector."""

    values: Sequence[int]
    attributes: Attributes = _NONE


class Reals(NamedTuple):
    """A double vector."""

    values: Sequence[float]
    attributes: Attributes = _NONE


class Items(NamedTuple):
    """A list; None is NULL."""

    values: Sequence[Value | None]
    attributes: Attributes = _NONE


Value = Strings | Integers | Reals | Items


def matrix(rows: Sequence[str], columns: Mapping[str, Sequence[str | None]]) -> Strings:
    """A character matrix with names of rows and columns.

    Args:
        rows: their names.
        columns: each with one cell for each row.
    """
    names = Items([Strings(rows), Strings(list(columns))])
    return Strings(
        [cell for cells in columns.values() for cell in cells],
        {"dim": Integers([len(rows), len(columns)]), "dimnames": names},
    )


def frame(rows: Sequence[str], columns: Mapping[str, Value]) -> Items:
    """A data frame.

    Args:
        rows: their names.
        columns: vectors with one value for each row.
    """
    return Items(
        list(columns.values()),
        {
            "names": Strings(list(columns)),
            "class": Strings(["data.frame"]),
            "row.names": Strings(rows),
        },
    )


def serialize(value: Value) -> bytes:
    """The bytes of the file, not compressed; equal values give equal bytes."""
    writer = _Writer()
    writer.value(value)
    return b"X\n" + struct.pack(">3i", _VERSION, _R_2_3_0, _R_2_3_0) + bytes(writer.out)


class _Writer:
    """Collects the bytes; a symbol that comes again is a reference to its first place."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.symbols: dict[str, int] = {}

    def word(self, *numbers: int) -> None:
        self.out += struct.pack(f">{len(numbers)}i", *numbers)

    def value(self, value: Value | None) -> None:
        if value is None:
            self.word(_END_OF_PAIRS)
            return
        kind = {Strings: _STRINGS, Integers: _INTEGERS, Reals: _REALS, Items: _ITEMS}[type(value)]
        flags = _HAS_ATTRIBUTES if value.attributes else 0
        flags |= _IS_OBJECT if "class" in value.attributes else 0
        self.word(kind | flags, len(value.values))
        match value:
            case Strings():
                for text in value.values:
                    self.string(text)
            case Integers():
                self.word(*value.values)
            case Reals():
                self.out += struct.pack(f">{len(value.values)}d", *value.values)
            case Items():
                for item in value.values:
                    self.value(item)
        if value.attributes:
            self.pairs(value.attributes)

    def string(self, text: str | None) -> None:
        if text is None:
            self.word(_STRING, _MISSING)
            return
        data = text.encode()
        self.word(_STRING | (_ASCII if text.isascii() else _UTF8), len(data))
        self.out += data

    def pairs(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            self.word(_PAIR | _HAS_TAG)
            self.symbol(name)
            self.value(value)
        self.word(_END_OF_PAIRS)

    def symbol(self, name: str) -> None:
        if name in self.symbols:
            self.word(self.symbols[name] << 8 | _REFERENCE)
            return
        self.symbols[name] = len(self.symbols) + 1
        self.word(_SYMBOL)
        self.string(name)
