"""What nodes that pull report, and what a depot makes of it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from landbridge.errors import SourceError
from landbridge.fleet.settings import Reporting

FOLDER = Path("/var/lib/landbridge/reports")
FORMAT = 1
_SECONDS = 60


class Report(BaseModel):
    """A node after a pull; `error` is empty where all went well."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    name: str
    time: float
    release: str
    error: str
    snapshot: dict[str, Any] | None


class Line(BaseModel):
    """A node as the depot lists it."""

    name: str
    release: str
    hours: float | None
    state: str


def send(report: Report, reporting: Reporting) -> None:
    """Put a report where the depot keeps it.

    Raises:
        SourceError: the depot does not take it.
    """
    url = f"{reporting.url}/{report.name}.json"
    try:
        context = ssl.create_default_context(cafile=reporting.ca or None)
        if reporting.certificate:
            context.load_cert_chain(reporting.certificate, reporting.key or None)
        auth = (reporting.user, reporting.password) if reporting.user else None
        # The environment's proxies are for the outside: a depot is inside.
        with httpx.Client(verify=context, auth=auth, timeout=_SECONDS, trust_env=False) as client:
            client.put(url, content=report.model_dump_json()).raise_for_status()
    except (httpx.HTTPError, OSError) as error:
        raise SourceError(f"{url}: the report is not taken: {error}", "see the depot") from error


def listed(folder: Path = FOLDER, now: float | None = None) -> Iterator[Line]:
    """Every node that has reported, by name; what cannot be read is a line too."""
    moment = time.time() if now is None else now
    for path in sorted(folder.glob("*.json")):
        try:
            report = Report.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            yield Line(name=path.stem, release="-", hours=None, state="unreadable")
            continue
        hours = round((moment - report.time) / 3600, 1)
        # The file's name is what the depot has made sure of, the name inside is only said.
        state = report.error.splitlines()[0] if report.error else "ok"
        yield Line(name=path.stem, release=report.release, hours=hours, state=state)
