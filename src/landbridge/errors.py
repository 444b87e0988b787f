"""The one family of errors, each with what is wrong, how to mend it and the exit code."""

import re

# `user:password@` or `token@` of a URL.
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def redact(text: str) -> str:
    """The text with the credentials of every URL in it replaced by `***`."""
    return _CREDENTIALS.sub("***@", text)


class LandbridgeError(Exception):
    """Base of every error that Landbridge raises on purpose; it never tells a URL's credentials.

    Args:
        message: what is wrong, naming the file, key or node.
        mend: what the reader should do, one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, mend: str = "") -> None:
        self.message = redact(message)
        self.mend = redact(mend)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  mend: {self.mend}" if self.mend else self.message


class InputError(LandbridgeError):
    """The user's input (a file, a key, an option) is wrong; exit code 2."""

    exit_code = 2


class PolicyError(LandbridgeError):
    """The input is well formed, but a policy forbids it; exit code 3."""

    exit_code = 3


class SourceError(LandbridgeError):
    """An upstream source cannot be read, or serves something else than promised."""


class BundleError(LandbridgeError):
    """A bundle is missing, damaged or not for this machine."""


class NodeError(LandbridgeError):
    """A node cannot be reached, converged or verified."""


class UnreachableError(NodeError):
    """Nodes were out of reach, and nothing failed on those that were not; exit code 4."""

    exit_code = 4
