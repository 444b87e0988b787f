"""`landbridge pull` on a node, `landbridge nodes` on its depot."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from landbridge.cli.options import AsJson
from landbridge.errors import LandbridgeError, NodeError
from landbridge.fleet import reports
from landbridge.fleet.backoff import Backoff
from landbridge.fleet.pull import converge, report_of, run_here
from landbridge.fleet.settings import Settings, read

LOCK = Path("/run/landbridge-converge")
# A converge from elsewhere is under way; one that was broken off does not count for ever.
PUSH = Path("/run/landbridge-push")
PUSH_SECONDS = 3600


def pull(
    *,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Do nothing so soon after a failure.")
    ] = False,
) -> None:
    """Bring this node to the newest release of its depot, and report."""
    settings = read()
    backoff = Backoff(settings.backoff_minutes)
    left = backoff.until() - time.time()
    if scheduled and left > 0:
        typer.echo(f"the last pull failed: the next one is in {round(left / 60)} minutes at least")
        return
    with _alone():
        fault = _converged(settings, backoff)
        _report(settings, fault)
    if fault:
        raise fault


def nodes(
    *,
    folder: Annotated[
        Path, typer.Option("--reports", metavar="DIR", help="Where the depot keeps them.")
    ] = reports.FOLDER,
    as_json: AsJson = False,
) -> None:
    """List what nodes that pull have reported to this depot."""
    lines = list(reports.listed(folder))
    if as_json:
        typer.echo(json.dumps([line.model_dump() for line in lines], indent=2))
        return
    width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        age = "-" if line.hours is None else f"{line.hours} h ago"
        typer.echo(f"{line.name:{width}}  {line.release}  {age}  {line.state}")
    if not lines:
        typer.echo(f"{folder}: no node has reported")


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other converges away until the block ends; role pull's tasks in site.yml do the same."""
    if PUSH.exists() and time.time() - PUSH.stat().st_mtime < PUSH_SECONDS:
        raise NodeError(f"{PUSH}: a converge from elsewhere is under way", "pull again later")
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise NodeError(f"{LOCK}: another pull is at work", "pull again later") from error
    finally:
        os.close(descriptor)


def _converged(settings: Settings, backoff: Backoff) -> LandbridgeError | OSError | None:
    """What went wrong; it is remembered."""
    try:
        converge(settings, run_here)
    except (LandbridgeError, OSError) as error:
        backoff.failed(time.time())
        return error
    backoff.succeeded()
    return None


def _report(settings: Settings, fault: Exception | None) -> None:
    """Tell the depot; that it does not listen is no fault of the node."""
    if not settings.report.url:
        return
    try:
        reports.send(report_of(settings, str(fault or "")), settings.report)
    except LandbridgeError as error:
        print(f"warning: {error}", file=sys.stderr)
