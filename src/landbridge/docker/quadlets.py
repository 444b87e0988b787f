"""Containers of Docker's as YAML for an inventory."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import yaml

from landbridge.docker.survey import Container, Survey

INDENT = "  "


class _Unsafe(str):
    """A text that Ansible must not take for a template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """YAML for an inventory: lists indented as yamllint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def _represent_unsafe(dumper: yaml.SafeDumper, text: _Unsafe) -> yaml.Node:
    return dumper.represent_scalar("!unsafe", str(text), style="'")


_Dumper.add_representer(_Unsafe, _represent_unsafe)


def quadlets(node: str, survey: Survey) -> str:
    """The node's containers as YAML for an inventory: `podman_quadlets` and `podman_secrets`.

    What each container needs besides stands above its entry as a comment. Values of secrets are
    names of variables, for a vault.
    """
    lines = [f"# Containers of Docker's on {node}; see docs/docker.md."]
    entries: list[str] = []
    secrets: list[str] = []
    for container in survey.containers:
        comment = [f"{INDENT}# {line}" for need in container.needs for line in _comment(need)]
        if not container.quadlet:
            lines += [f"# Left out: {container.name}", *(line.strip() for line in comment)]
            continue
        entries += [*comment, _yaml([_unsafe(container.quadlet)])]
        secrets += _secrets(container)
    lines += ["podman_quadlets:" if entries else "podman_quadlets: []", *entries]
    if secrets:
        lines += ["podman_secrets:", _yaml([_secret(name) for name in secrets])]
    return "\n".join(lines) + "\n"


def _secret(name: str) -> dict[str, str]:
    variable = re.sub(r"\W", "_", name)
    return {"name": name, "value": f"{{{{ vault_{variable} }}}}"}


def _secrets(container: Container) -> list[str]:
    named = container.quadlet["sections"]["Container"].get("Secret", [])
    return [text.split(",")[0] for text in named]


def _comment(need: str) -> list[str]:
    return textwrap.wrap(need, width=92, break_long_words=False, break_on_hyphens=False)


def _yaml(value: Any) -> str:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10**6, allow_unicode=True)
    return textwrap.indent(text, INDENT).rstrip("\n")


def _unsafe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unsafe(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_unsafe(part) for part in value]
    template = isinstance(value, str) and re.search(r"\{[{%#]", value)
    return _Unsafe(value) if template else value
