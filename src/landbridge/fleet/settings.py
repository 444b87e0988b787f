"""What role `pull` has written for a node's own pull."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from landbridge.errors import InputError

FILE = Path("/etc/landbridge/pull.json")
INVENTORY = Path("/etc/landbridge/inventory")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reporting(_Part):
    """Where a report goes, and how; empty for not at all."""

    url: str
    ca: str
    certificate: str
    key: str
    user: str
    password: str


class Settings(_Part):
    """Of a node: its name, its depot's folder, where releases come from, and when again."""

    name: str
    depot: Path
    source: str
    tags: list[str]
    backoff_minutes: int
    report: Reporting


def read(file: Path = FILE) -> Settings:
    """The settings.

    Raises:
        InputError: there are none, or they are of another version.
    """
    mend = "set pull_enabled for this node, and converge it from where its inventory is"
    try:
        return Settings.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}", mend) from error
    except ValidationError as error:
        raise InputError(f"{file}: not of this version: {error}", mend) from error
