"""`policy.yml`: which names, versions, licences, sources and ages a bundle may carry."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from landbridge.access import place
from landbridge.errors import PolicyError
from landbridge.licenses import passes
from landbridge.lock import Artifact, Lock, requirer
from landbridge.stack import load_yaml

NAME = "policy.yml"

Governed = Literal["rpm", "conda", "pypi", "cran", "oci", "toolkit", "collection"]
Answer = Literal["allow", "deny"]
Glob = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

# What `bundle build` makes itself has no source and no day of release.
_MADE_HERE = "built:"
_LONGEST_LICENSE = 80


class _Strict(BaseModel):
    # A version such as 1.10 without quotes is a number in YAML, 1.1: refused, not guessed.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Rules(_Strict):
    """What holds for one ecosystem, or for all. None means that nothing is said.

    Attributes:
        allow: names, as globs; others are refused.
        deny: names, as globs.
        deny_versions: by name (glob) the versions, as globs.
        allow_licenses: SPDX ids, as globs; others are refused.
        deny_licenses: the same, refused.
        unknown_license: what becomes of artifacts whose source states no licence.
        allow_sources: hosts (globs) or URL prefixes; others are refused.
        minimum_age_days: days that must have passed since the release.
        unknown_age: what becomes of artifacts whose source states no day of release.
    """

    allow: list[Glob] | None = None
    deny: list[Glob] = []
    deny_versions: dict[Glob, list[Glob]] = {}
    allow_licenses: list[Glob] | None = None
    deny_licenses: list[Glob] = []
    unknown_license: Answer | None = None
    allow_sources: list[Glob] | None = None
    minimum_age_days: int | None = Field(default=None, ge=0)
    unknown_age: Answer | None = None


class Exemption(_Strict):
    """One artifact for which no rule counts, and why."""

    ecosystem: Governed
    name: Glob
    version: Glob | None = None
    reason: Glob


class Policy(_Strict):
    """The rules for all ecosystems, those of each, and the exceptions."""

    all: Rules = Rules()
    rpm: Rules = Rules()
    conda: Rules = Rules()
    pypi: Rules = Rules()
    cran: Rules = Rules()
    oci: Rules = Rules()
    toolkit: Rules = Rules()
    collection: Rules = Rules()
    exceptions: list[Exemption] = []

    def rules(self, ecosystem: str) -> Rules:
        """What holds for an ecosystem: denials of its own and of `all` add up, the rest of its
        own keys replace those of `all`.
        """
        own: Rules = getattr(self, ecosystem)
        given = {key: getattr(own, key) for key in own.model_fields_set}
        versions = {key: list(value) for key, value in self.all.deny_versions.items()}
        for name, globs in own.deny_versions.items():
            versions.setdefault(name, []).extend(globs)
        added: dict[str, Any] = {
            "deny": [*self.all.deny, *own.deny],
            "deny_licenses": [*self.all.deny_licenses, *own.deny_licenses],
            "deny_versions": versions,
        }
        return self.all.model_copy(update=given | added)


def load_policy(path: Path) -> Policy:
    """Read and check a policy.

    Raises:
        InputError: the file is missing, is not YAML, or has a wrong key; with its line.
    """
    return load_yaml(path, Policy)


def enforce(policy: Policy, lock: Lock, today: date) -> None:
    """Refuse a lock that the policy forbids.

    Raises:
        PolicyError: lists every offence, with who requires the artifact.
    """
    lines = violations(policy, lock, today)
    if lines:
        raise PolicyError(
            "\n".join([f"the policy forbids {len(lines)} thing(s):", *lines]),
            "change the stack, or give an exception with its reason in the policy",
        )


def violations(policy: Policy, lock: Lock, today: date) -> list[str]:
    """One line for each offence, in the lock's order.

    Args:
        policy: the rules.
        lock: what would be carried.
        today: the day on which ages are counted.
    """
    parents = _parents(lock)
    lines = []
    for artifact in lock.artifacts:
        if any(_exempts(exemption, artifact) for exemption in policy.exceptions):
            continue
        why = _required_by(artifact, parents)
        where = f" ({', '.join(artifact.targets)})" if artifact.targets else ""
        what = f"{artifact.ecosystem} {artifact.name} {_version(artifact)}{where}"
        for offence in _offences(policy, artifact, today):
            lines.append(f"{what}: {offence}; {why}")
    return lines


def _offences(policy: Policy, artifact: Artifact, today: date) -> Iterator[str]:
    if artifact.ecosystem == "rpm-key":
        # Part of a repository, not software: it only comes from where RPMs may come from.
        yield from _source(policy.rules("rpm"), artifact)
        return
    rules = policy.rules(artifact.ecosystem)
    yield from _name(rules, artifact)
    yield from _versions(rules, artifact)
    yield from _license(rules, artifact)
    if not artifact.url.startswith(_MADE_HERE):
        yield from _source(rules, artifact)
        yield from _age(rules, artifact, today)


def _name(rules: Rules, artifact: Artifact) -> Iterator[str]:
    if rules.allow is not None and not any(_named(artifact, glob) for glob in rules.allow):
        yield "name is not allowed"
    for glob in rules.deny:
        if _named(artifact, glob):
            yield f"name is denied ({glob})"


def _versions(rules: Rules, artifact: Artifact) -> Iterator[str]:
    for name, globs in rules.deny_versions.items():
        for glob in globs:
            if _named(artifact, name) and _versioned(artifact, glob):
                yield f"version is denied ({name}: {glob})"


def _source(rules: Rules, artifact: Artifact) -> Iterator[str]:
    allowed = rules.allow_sources
    if allowed is not None and not any(_comes_from(artifact.url, entry) for entry in allowed):
        yield f"source {artifact.url} is not allowed"


def _age(rules: Rules, artifact: Artifact, today: date) -> Iterator[str]:
    wanted = rules.minimum_age_days
    if not wanted:
        return
    if not artifact.released:
        if rules.unknown_age != "allow":
            yield f"day of release is unknown, {wanted} days of age are wanted"
        return
    age = (today - date.fromisoformat(artifact.released)).days
    if age < wanted:
        yield f"released {artifact.released}, {age} days ago, {wanted} are wanted"


def _license(rules: Rules, artifact: Artifact) -> Iterator[str]:
    text = " ".join(artifact.license.split())
    if not text:
        if rules.unknown_license == "deny":
            yield "licence is unknown"
        return

    def tolerated(names: Iterable[str]) -> bool:
        return not _any_match(names, rules.deny_licenses)

    def welcome(names: Iterable[str]) -> bool:
        known = rules.allow_licenses
        return tolerated(names) and (known is None or _any_match(names, known))

    shown = text if len(text) <= _LONGEST_LICENSE else f"{text[:_LONGEST_LICENSE]}..."
    if not passes(text, tolerated):
        yield f"licence {shown} is denied"
    elif not passes(text, welcome):
        yield f"licence {shown} is not allowed"


def _any_match(names: Iterable[str], globs: Iterable[str]) -> bool:
    patterns = [glob.lower() for glob in globs]
    return any(fnmatchcase(name.lower(), pattern) for name in names for pattern in patterns)


def _named(artifact: Artifact, glob: str) -> bool:
    if artifact.ecosystem not in ("pypi", "toolkit"):
        return fnmatchcase(artifact.name.lower(), glob.lower())
    # Of a Python project's name, runs of these are equal (PEP 503).
    plain = (re.sub(r"[-_.]+", "-", text).lower() for text in (artifact.name, glob))
    return fnmatchcase(*plain)


def _versioned(artifact: Artifact, glob: str) -> bool:
    """Whether the glob fits the version, with or without its build and an RPM's epoch."""
    whole = _version(artifact)
    candidates = {artifact.version, whole}
    if artifact.ecosystem == "rpm":
        candidates |= {text.partition(":")[2] for text in (artifact.version, whole)}
    return any(fnmatchcase(candidate, glob) for candidate in candidates)


def _version(artifact: Artifact) -> str:
    return f"{artifact.version}-{artifact.build}" if artifact.build else artifact.version


def _comes_from(url: str, entry: str) -> bool:
    found, wanted = place(url), place(entry.lower() if "://" not in entry else entry)
    if not fnmatchcase(found.host, wanted.host):
        return False
    return "://" not in entry or (
        found.scheme == wanted.scheme and wanted.holds(_without_dots(found.path))
    )


def _without_dots(path: str) -> str:
    """`/allowed/../other` is no way round a prefix: such a path is below nothing."""
    return "" if ".." in path.split("/") else path


def _exempts(exemption: Exemption, artifact: Artifact) -> bool:
    return (
        exemption.ecosystem == artifact.ecosystem
        and _named(artifact, exemption.name)
        and (exemption.version is None or _versioned(artifact, exemption.version))
    )


Parents = Mapping[tuple[str, str], Iterable[str]]


def _parents(lock: Lock) -> Parents:
    """By ecosystem and name who requires it; nobody where the stack wants it on some target."""
    parents: dict[tuple[str, str], set[str]] = {}
    wanted = set()
    for artifact in lock.artifacts:
        key = (artifact.ecosystem, artifact.name)
        parents.setdefault(key, set()).update(artifact.required_by)
        if not artifact.required_by:
            wanted.add(key)
    return {key: () if key in wanted else names for key, names in parents.items()}


def _required_by(artifact: Artifact, parents: Parents) -> str:
    """The shortest chain from an artifact up to what the stack wants."""
    if not artifact.required_by:
        return "wanted by the stack"
    start = (artifact.ecosystem, artifact.name)
    direct = sorted(requirer(artifact.ecosystem, name) for name in artifact.required_by)
    seen = {start, *direct}
    ways = deque([one] for one in direct)
    shortest = ways[0]
    while ways:
        way = ways.popleft()
        ecosystem = way[-1][0]
        above = {requirer(ecosystem, name) for name in parents.get(way[-1], ())}
        if not above:
            shortest = way
            break
        new = sorted(above - seen)
        seen.update(new)
        ways.extend([*way, one] for one in new)
    shown = (n if e == artifact.ecosystem else f"{e}:{n}" for e, n in shortest)
    return f"required by: {' <- '.join(shown)}"
