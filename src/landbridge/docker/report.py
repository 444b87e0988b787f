"""A survey for people: each thing on a line, what it needs below it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from landbridge.docker.survey import Image, Settings, Survey

INDENT = "  "
MEGABYTE = 10**6
NAME_WIDTH = 24
LEAST_WIDTH = 40

Row = tuple[str, str, Iterable[str]]


def report(node: str, survey: Survey, width: int) -> str:
    """The survey of a node for people: each thing on a line, its needs below it."""
    lines = [f"{node}: {_headline(survey)}"]
    for title, rows in _sections(survey):
        entries = list(rows)
        if entries:
            lines += ["", f"{INDENT}{title}"]
        for name, words, needs in entries:
            lines.append(f"{INDENT * 2}{name:<{NAME_WIDTH}} {words}".rstrip())
            lines += [line for need in needs for line in _bullet(need, width)]
    return "\n".join(lines)


def _headline(survey: Survey) -> str:
    if survey.daemon == "running":
        things = (
            (survey.containers, "container"),
            (survey.images, "image"),
            (survey.volumes, "volume"),
            (survey.networks, "network"),
            (survey.compose, "compose project"),
        )
        counts = ", ".join(
            f"{len(found)} {word}{'s' * (len(found) != 1)}" for found, word in things
        )
        return f"Docker {survey.version} runs, data in {survey.data_root}: {counts}"
    words = "Docker is stopped" if survey.daemon == "stopped" else "no Docker"
    return f"{words}, data in {survey.data_root}" if survey.unknown.path else words


def _sections(survey: Survey) -> Iterator[tuple[str, Iterable[Row]]]:
    yield "packages", [(name, "", ()) for name in survey.packages]
    if survey.unknown.path:
        unknown = survey.unknown
        images = "an unknown number of" if unknown.images is None else unknown.images
        words = f"{images} images, {unknown.containers} containers, {unknown.volumes} volumes"
        yield "unseen", [(unknown.path, words, unknown.needs)]
    yield "may use the socket, and are root by that", [(name, "", ()) for name in survey.group]
    yield "rootless", [(user.user, _running(user.running), user.needs) for user in survey.rootless]
    yield "units that need Docker", [(unit.path, "", unit.needs) for unit in survey.units]
    yield "settings", _settings(survey.settings)
    yield (
        "containers",
        [(c.name, f"{_short_id(c.image)}, {c.state}", c.needs) for c in survey.containers],
    )
    yield "compose projects", [(p.project, ", ".join(p.services), p.needs) for p in survey.compose]
    yield "images", [_image(image) for image in survey.images]
    yield "volumes", [(v.name, _used(v.driver, v.used_by), v.needs) for v in survey.volumes]
    yield (
        "networks",
        [(n.name, ", ".join([n.driver, *n.subnets]), n.needs) for n in survey.networks],
    )
    yield "plugins", [(p.name, "" if p.enabled else "disabled", p.needs) for p in survey.plugins]
    if survey.swarm.needs:
        names = ", ".join(survey.swarm.services)
        yield "swarm", [(survey.swarm.state, names and f"services {names}", survey.swarm.needs)]


def _settings(settings: Settings) -> Iterator[Row]:
    for key, value in settings.translated.items():
        yield f"podman_{key}", f"taken over: {_short(value)}", ()
    for setting in settings.untranslated:
        yield setting.key, f"{_short(setting.value)} ({setting.origin})", setting.needs
    if settings.harmless:
        yield "the same in Podman", ", ".join(settings.harmless), ()


def _image(image: Image) -> Row:
    name = ", ".join(image.names) or _short_id(image.id)
    return name, _used(f"{image.size / MEGABYTE:.0f} MB", image.used_by), image.needs


def _short_id(name: str) -> str:
    return name[7:19] if name.startswith("sha256:") else name


def _used(words: str, names: list[str]) -> str:
    return f"{words}, used by {', '.join(names)}" if names else f"{words}, not used"


def _running(running: bool) -> str:
    return "runs" if running else "does not run"


def _short(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True, width=10**6)
        .strip()
        .removesuffix("\n...")
    )


def _bullet(text: str, width: int) -> list[str]:
    indent = INDENT * 3
    return textwrap.wrap(
        text,
        width=max(width, LEAST_WIDTH),
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
