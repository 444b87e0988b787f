"""RPMs: resolved by dnf against an empty root, with the metadata that belongs to them."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from landbridge.access import Way
from landbridge.ecosystems import Learner, _rpm_index
from landbridge.ecosystems._rpm_metadata import CARRIED, Nevra
from landbridge.errors import InputError, LandbridgeError, SourceError
from landbridge.files import scratch, sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run, tail
from landbridge.stack import RpmRepository, Stack, Target
from landbridge.targets import PLATFORMS

KEYS = "rpm/keys"
# Interpreters for the toolkit, best first: its requirements are locked for these minors.
PLATFORM_PYTHON = "python3"
EXTRA_PYTHONS = ("python3.12", "python3.11")
TOOLKIT_MINORS = (11, 12, 13)
# The other half of an ecosystem's shape.
index = _rpm_index.index
_PYTHONS_WITH_DNF = ("/usr/libexec/platform-python", "/usr/bin/python3")


# For each target RPMs that are wanted beside the stack's own, each with those who need it,
# as `ecosystem:name`.
Needed = Mapping[str, Mapping[str, list[str]]]


def resolve(
    stack: Stack, learner: Learner, kept: Kept | None = None, needed: Needed = MappingProxyType({})
) -> Part:
    """One dnf transaction for each target, and the keys of its repositories."""
    keys = _fetch_keys(stack, learner)
    targets = [t for t in stack.targets if stack.rpm.for_target(t) or needed.get(t)]

    def transaction(target: Target) -> Part:
        return _transaction(stack, target, keys, learner, kept, needed.get(target, {}))

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(transaction, targets))
    artifacts = _key_artifacts(stack, keys)
    artifacts += [artifact for part in parts for artifact in part.artifacts]
    metadata = {path: text for part in parts for path, text in part.metadata.items()}
    return Part(artifacts, metadata=metadata)


def interpreter(lock: Lock, target: str) -> str:
    """Name of the RPM whose Python the toolkit uses on `target`."""
    versions = {a.name: a.version for a in lock.of("rpm") if target in a.targets}
    for name in (PLATFORM_PYTHON, *EXTRA_PYTHONS):
        minor = re.match(r"\d+:3\.(\d+)", versions.get(name, ""))
        if minor and int(minor[1]) in TOOLKIT_MINORS:
            return name
    return PLATFORM_PYTHON


def _fetch_keys(stack: Stack, learner: Learner) -> dict[str, Path]:
    """The repositories' public keys by their URLs."""
    repositories = (r for t in stack.targets for r in stack.sources.rpm.get(t, []))
    return {url: learner.learn(url) for url in dict.fromkeys(r.gpgkey for r in repositories)}


def _key_artifacts(stack: Stack, keys: dict[str, Path]) -> list[Artifact]:
    """The repositories' public keys, each content once, under a name of its own."""
    artifacts: dict[str, Artifact] = {}
    names: set[str] = set()
    for target in stack.targets:
        for repository in stack.sources.rpm.get(target, []):
            file = keys[repository.gpgkey]
            if file.name in artifacts:
                continue
            name = f"RPM-GPG-KEY-{repository.id}"
            name = f"{name}-{target}" if name in names else name
            names.add(name)
            artifacts[file.name] = Artifact(
                ecosystem="rpm-key",
                name=name,
                version="",
                path=f"{KEYS}/{name}",
                url=repository.gpgkey,
                sha256=sha256_of(file),
                size=file.stat().st_size,
            )
    return list(artifacts.values())


def _transaction(  # noqa: PLR0917 - what is wanted, and from where
    stack: Stack,
    target: Target,
    keys: dict[str, Path],
    learner: Learner,
    kept: Kept | None,
    needed: Mapping[str, list[str]],
) -> Part:
    """What dnf would install of the target's wishes on a machine that has nothing yet."""
    platform = PLATFORMS[target]
    repositories = stack.sources.rpm.get(target, [])
    with scratch() as root:
        answer = _ask_dnf(
            {
                "root": str(root),
                "cache": str(_dnf_cache(target, repositories, keys, learner)),
                "arch": platform.arch,
                "major": str(platform.major),
                "weak": stack.rpm.weak_dependencies,
                "repositories": [_options(r, keys, learner) for r in repositories],
                "packages": sorted({*stack.rpm.for_target(target), *needed}),
                "needed": dict(needed),
                "pythons": [PLATFORM_PYTHON, *EXTRA_PYTHONS],
                "minors": list(TOOLKIT_MINORS),
                "kept": _locked(kept, target),
                "update": sorted(kept.update) if kept else [],
            }
        )
        _refuse(answer, target, repositories, needed)
        artifacts = [_artifact(package, target) for package in answer["packages"]]
        return Part(artifacts, metadata=_carried(answer, artifacts, target))


def _dnf_cache(
    target: str, repositories: list[RpmRepository], keys: dict[str, Path], learner: Learner
) -> Path:
    """dnf's cache, another one for other keys: dnf trusts the keys that it finds in there."""
    trust = [(r.id, r.repo_gpgcheck, keys[r.gpgkey].name) for r in repositories]
    digest = hashlib.sha256(repr(trust).encode()).hexdigest()
    return learner.folder(f"dnf/{target}-{digest[:16]}")


def _options(
    repository: RpmRepository, keys: dict[str, Path], learner: Learner
) -> dict[str, str | bool | list[str]]:
    """A repository in the words of dnf's configuration; they travel on the helper's stdin."""
    way = learner.access.way(repository.baseurl)
    return {
        "id": repository.id,
        "baseurl": [repository.baseurl],
        "repo_gpgcheck": repository.repo_gpgcheck,
        "gpgkey": [keys[repository.gpgkey].as_uri()],
        "sslcacert": _certificates(way, learner),
        "sslclientcert": str(way.client_cert or ""),
        # libcurl finds the key in the certificate's file where none is given.
        "sslclientkey": str(way.client_key or ""),
        "proxy": _proxy(way, repository.baseurl),
        "username": way.username,
        "password": way.password,
    }


def _certificates(way: Way, learner: Learner) -> str:
    """File of the site's CA and the system's together: dnf takes one instead of the other."""
    if way.ca is None:
        return ""
    system = ssl.get_default_verify_paths().cafile
    together = b"\n".join(Path(file).read_bytes() for file in (system, way.ca) if file)
    digest = hashlib.sha256(together).hexdigest()
    file = learner.folder("certificates") / f"{digest[:16]}.pem"
    if not file.exists():
        write_file(file, together)
    return str(file)


def _proxy(way: Way, url: str) -> str:
    """The proxy for a URL, by the sources file, else by the environment; empty for none."""
    if way.proxy is not None:
        return way.proxy
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    proxies = getproxies()
    return proxies.get(parts.scheme, proxies.get("all", ""))


def _locked(kept: Kept | None, target: str) -> list[dict[str, str]]:
    """Every RPM that an older lock has for the target, those to be updated too."""
    if kept is None:
        return []
    return [nevra._asdict() for nevra in _nevras(kept.lock.of("rpm"), target)]


def _nevras(artifacts: list[Artifact], target: str) -> list[Nevra]:
    """The identities of a target's RPMs; the lock's `build` is `release.arch`."""
    return [
        Nevra(a.name, a.version, *a.build.rsplit(".", 1)) for a in artifacts if target in a.targets
    ]


def _carried(answer: dict[str, Any], artifacts: list[Artifact], target: str) -> dict[str, str]:
    """Advisories and modules of the chosen packages, by their place in the bundle."""
    locked = _nevras(artifacts, target)
    try:
        texts = {
            carried.file: carried.cut(map(Path, answer[kind]), locked)
            for kind, carried in CARRIED.items()
        }
    except ValueError as error:
        raise SourceError(
            f"rpm, {target}: metadata that cannot be read: {error}", "sync the mirror anew"
        ) from error
    return {f"rpm/{target}/{name}": text for name, text in texts.items() if text}


def _refuse(
    answer: dict[str, Any],
    target: str,
    repositories: list[RpmRepository],
    needed: Mapping[str, list[str]],
) -> None:
    """Turn dnf's no into an error with a mend."""
    ids = ", ".join(repository.id for repository in repositories)
    if names := answer.get("unknown"):
        shown = [
            f"{name} (needed by {', '.join(needed[name])})" if name in needed else name
            for name in names
        ]
        correct = "correct the names in the stack"
        if any(name in needed for name in names):
            correct += " (r.system_requirements for what R packages need)"
        raise InputError(
            f"rpm, {target}: no such package in {ids or 'sources.rpm'}: {', '.join(shown)}",
            f"{correct}, or add the repository that has them",
        )
    if fault := answer.get("unreachable"):
        raise SourceError(f"rpm, {target}: {fault}", "check sources.rpm and the mirror behind it")
    if fault := answer.get("conflict"):
        raise SourceError(f"rpm, {target}: {fault}", "add the missing repository to sources.rpm")
    if not answer["python"]:
        raise SourceError(
            f"rpm, {target}: none of {ids} offers a Python that the toolkit runs on "
            f"(3.{TOOLKIT_MINORS[0]} to 3.{TOOLKIT_MINORS[-1]})",
            "add the repository that has python3.12 (AppStream)",
        )


def _ask_dnf(job: dict[str, Any]) -> dict[str, Any]:
    helper = Path(__file__).with_name("_dnf_resolve.py")
    done = run(
        [_python_with_dnf(), "-I", helper],
        package="python3-dnf",
        stdin=json.dumps(job),
        check=False,
    )
    if done.returncode:
        raise LandbridgeError(f"dnf's resolver failed ({done.returncode}):\n{tail(done)}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@cache
def _python_with_dnf() -> str:
    """dnf's Python library belongs to the platform's interpreter, never to a virtual one."""
    for python in _PYTHONS_WITH_DNF:
        if not Path(python).exists():
            continue
        if not run([python, "-c", "import dnf"], package="python3-dnf", check=False).returncode:
            return python
    raise LandbridgeError(
        f"none of {', '.join(_PYTHONS_WITH_DNF)} can import dnf", "install python3-dnf (dnf 4)"
    )


def _artifact(package: dict[str, Any], target: str) -> Artifact:
    if package["checksum"] != "sha256":
        raise SourceError(
            f"{package['url']}: the repository names its {package['checksum']}, not its sha256",
            "have the mirror's metadata made with createrepo_c --checksum sha256",
        )
    return Artifact(
        ecosystem="rpm",
        name=package["name"],
        version=package["version"],
        build=f"{package['release']}.{package['arch']}",
        targets=[target],
        path=f"rpm/{target}/Packages/{package['file']}",
        url=package["url"],
        sha256=package["sha256"],
        size=package["size"],
        installed_size=package["installed_size"],
        license=package["license"],
        released=_day(package["built"]),
        required_by=package["required_by"],
    )


def _day(seconds: int) -> str:
    """The UTC day of a time since 1970; a build time of 0 is none."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds else ""
