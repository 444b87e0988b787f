"""Wheels: resolved by pip for each Python, carried as a PEP 503 index with hashes."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from landbridge.ecosystems import Learner
from landbridge.errors import InputError, LandbridgeError, SourceError
from landbridge.files import scratch, sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run, tail
from landbridge.stack import Stack
from landbridge.targets import Platform, lowest

SIMPLE = "pypi/simple"
# The glibc minors that wheels were ever tagged for, newest first; older names come last.
_MANYLINUX_MINORS = (39, 38, 37, 36, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)


def resolve(stack: Stack, learner: Learner, _kept: Kept | None = None) -> Part:
    """The wheels that users may install, for each Python version of the stack."""
    if not stack.pypi.packages:
        return Part([])
    platform = lowest(stack.targets)
    found = [
        artifact
        for python in stack.pypi.python
        for artifact in wheels(stack.pypi.packages, python, platform, learner)
    ]
    return Part(found)


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write the simple index; files lie beside their page, so that links stay relative."""
    projects: dict[str, list[Artifact]] = {}
    for artifact in lock.of("pypi"):
        projects.setdefault(artifact.name, []).append(artifact)
    if not projects:
        return
    for project, artifacts in projects.items():
        links = [(f"{a.file}#sha256={a.sha256}", a.file) for a in artifacts]
        write_file(root / SIMPLE / project / "index.html", _page(links))
    write_file(root / SIMPLE / "index.html", _page((f"{name}/", name) for name in sorted(projects)))


def wheels(
    wanted: Sequence[str | Path],
    python: str,
    platform: Platform,
    learner: Learner,
) -> list[Artifact]:
    """What pip would install for one Python version on one platform.

    Args:
        wanted: requirements, or paths of wheels.
        python: `3.12`, say.
        platform: the oldest node to serve.
        learner: fetches what has no sha256 at its source.

    Raises:
        InputError: nothing fulfils a requirement for this Python.
        SourceError: an index cannot be read.
    """
    items = _pip_report(wanted, python, platform)["install"]
    needed_by = _needed_by(items)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda item: _artifact(item, python, needed_by, learner), items))


def canonical(name: str) -> str:
    """A project's one name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip_report(wanted: Sequence[str | Path], python: str, platform: Platform) -> dict[str, Any]:
    helper = Path(__file__).with_name("_pip_for_target.py")
    tags = [word for tag in _platform_tags(platform) for word in ("--platform", tag)]
    with scratch() as folder:
        report = folder / "report.json"
        options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--no-input"]
        options += ["--python-version", python, "--implementation", "cp", *tags]
        options += ["--report", str(report), "--target", str(folder / "nowhere")]
        done = run(
            [sys.executable, helper, python, "install", *options, *wanted],
            package="pip",
            check=False,
        )
        if not done.returncode:
            answer: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
            if answer["environment"]["python_version"] != python:
                raise LandbridgeError(
                    f"pip {answer['pip_version']} evaluates markers in a way unknown here",
                    "install pip 26.3 beside landbridge",
                )
            return answer
    message = f"pypi, Python {python}: {_errors(tail(done, 200))}"
    if "No matching distribution" in message or "conflicting dependencies" in message:
        raise InputError(message, "change the requirement, or add wheels for this Python")
    raise SourceError(message, "check pip's configuration and the index behind it")


def _platform_tags(platform: Platform) -> list[str]:
    minors = [minor for minor in _MANYLINUX_MINORS if minor <= platform.glibc[1]]
    tags = [f"manylinux_2_{minor}_{platform.arch}" for minor in minors]
    # pip expands this one to manylinux2010 and manylinux1 by itself.
    return [*tags, f"manylinux2014_{platform.arch}", f"linux_{platform.arch}"]


def _errors(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")]
    return "\n".join(lines) or text


def _needed_by(items: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """Who requires whom, by name; markers are not asked, for both are in the closure."""
    needed_by: dict[str, set[str]] = {}
    for item in items:
        metadata = item["metadata"]
        for requirement in metadata.get("requires_dist", []):
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            if match and "extra ==" not in requirement:
                by = needed_by.setdefault(canonical(match[0]), set())
                by.add(canonical(metadata["name"]))
    return needed_by


def _artifact(
    item: dict[str, Any], python: str, needed_by: dict[str, set[str]], learner: Learner
) -> Artifact:
    url = item["download_info"]["url"]
    name = canonical(item["metadata"]["name"])
    sha256 = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
    # pip's report has no sizes: the wheel is fetched now instead of a little later.
    file = learner.learn(url, sha256=sha256)
    return Artifact(
        ecosystem="pypi",
        name=name,
        version=item["metadata"]["version"],
        targets=[python],
        path=f"{SIMPLE}/{name}/{unquote(url.rsplit('/', 1)[-1])}",
        url=url,
        sha256=sha256 or sha256_of(file),
        size=file.stat().st_size,
        required_by=sorted(needed_by.get(name, ())),
    )


def _page(links: Iterable[tuple[str, str]]) -> str:
    body = "\n".join(
        f'<a href="{html.escape(href)}">{html.escape(text)}</a><br>' for href, text in links
    )
    head = '<meta name="pypi:repository-version" content="1.0">'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{body}\n</body></html>\n"
