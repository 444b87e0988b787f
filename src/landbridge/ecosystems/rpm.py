"""RPMs: resolved by dnf against an empty root, checked with rpmkeys, indexed by createrepo_c."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from landbridge.ecosystems import Learner
from landbridge.errors import InputError, LandbridgeError, SourceError
from landbridge.files import scratch, sha256_of
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run, tail
from landbridge.stack import RpmRepository, Stack
from landbridge.targets import PLATFORMS

KEYS = "rpm/keys"
# Interpreters for the toolkit, best first: its requirements are locked for these minors.
PLATFORM_PYTHON = "python3"
EXTRA_PYTHONS = ("python3.12", "python3.11")
TOOLKIT_MINORS = (11, 12, 13)
_PYTHONS_WITH_DNF = ("/usr/libexec/platform-python", "/usr/bin/python3")
# Python's own dates begin here; repodata carries this instead of the clock.
_REVISION = "315532800"


def resolve(stack: Stack, learner: Learner, _kept: Kept | None = None) -> Part:
    """One dnf transaction for each target, and the keys of its repositories."""
    artifacts = _keys(stack, learner)
    for target in stack.targets:
        repositories = stack.sources.rpm.get(target, [])
        if stack.rpm.for_target(target):
            artifacts += _transaction(stack, target, repositories, learner)
    return Part(artifacts)


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Check every signature, then write `repodata/` for each target.

    Raises:
        SourceError: an RPM is not signed by one of the bundle's keys.
    """
    targets = [target for target in lock.targets if (root / "rpm" / target).is_dir()]
    if not targets:
        return
    _check_signatures(root, targets)
    for target in targets:
        _createrepo(root / "rpm" / target)


def interpreter(lock: Lock, target: str) -> str:
    """Name of the RPM whose Python the toolkit uses on `target`."""
    versions = {a.name: a.version for a in lock.of("rpm") if target in a.targets}
    for name in (PLATFORM_PYTHON, *EXTRA_PYTHONS):
        minor = re.match(r"\d+:3\.(\d+)", versions.get(name, ""))
        if minor and int(minor[1]) in TOOLKIT_MINORS:
            return name
    return PLATFORM_PYTHON


def _keys(stack: Stack, learner: Learner) -> list[Artifact]:
    """The repositories' public keys, each content once, under a name of its own."""
    artifacts: dict[str, Artifact] = {}
    names: set[str] = set()
    for target in stack.targets:
        for repository in stack.sources.rpm.get(target, []):
            file = learner.learn(repository.gpgkey)
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


def _transaction(
    stack: Stack,
    target: str,
    repositories: list[RpmRepository],
    learner: Learner,
) -> list[Artifact]:
    """What dnf would install of the target's wishes on a machine that has nothing yet."""
    platform = PLATFORMS[target]
    wanted = stack.rpm.for_target(target)
    with scratch() as root:
        answer = _ask_dnf(
            {
                "root": str(root),
                "cache": str(learner.folder(f"dnf/{target}")),
                "arch": platform.arch,
                "major": str(platform.major),
                "weak": stack.rpm.weak_dependencies,
                "repositories": [r.model_dump() for r in repositories],
                "packages": wanted,
                "pythons": [PLATFORM_PYTHON, *EXTRA_PYTHONS],
                "minors": list(TOOLKIT_MINORS),
            }
        )
    _refuse(answer, target, repositories)
    return [_artifact(package, target) for package in answer["packages"]]


def _refuse(answer: dict[str, Any], target: str, repositories: list[RpmRepository]) -> None:
    """Turn dnf's no into an error with a mend."""
    ids = ", ".join(repository.id for repository in repositories)
    if names := answer.get("unknown"):
        raise InputError(
            f"rpm, {target}: no such package in {ids}: {', '.join(names)}",
            "correct the names in the stack, or add the repository that has them",
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
        required_by=package["required_by"],
    )


def _check_signatures(root: Path, targets: list[str]) -> None:
    """Every RPM against the bundle's keys alone, in a database that is thrown away."""
    keys = sorted((root / KEYS).iterdir())
    files = sorted(f for t in targets for f in (root / "rpm" / t / "Packages").iterdir())
    with scratch() as database:
        rpmkeys = ["rpmkeys", f"--dbpath={database}"]
        run([*rpmkeys, "--import", *keys], package="rpm")
        # Level "all" wants a signature; the default is content with digests.
        checksig = [*rpmkeys, "--define", "_pkgverify_level all", "--checksig"]
        done = run([*checksig, *files], package="rpm", check=False)
    lines = (line.rpartition(": ") for line in done.stdout.splitlines())
    verdicts = {Path(name): verdict for name, _, verdict in lines}
    bad = [
        f"{file.relative_to(root)}: {verdicts.get(file, tail(done))}"
        for file in files
        if verdicts.get(file) != "digests signatures OK"
    ]
    if bad:
        raise SourceError(
            "RPMs without a signature by a key of sources.rpm:\n" + "\n".join(bad),
            "give the key that signed them as gpgkey, or take them from a trusted mirror",
        )


def _createrepo(folder: Path) -> None:
    """Metadata that dnf 4.14 (EL9) reads, with file lists, the same bytes each time."""
    options = ["--no-database", "--general-compress-type=gz", "--checksum=sha256", "--quiet"]
    clock = [f"--revision={_REVISION}", "--set-timestamp-to-revision"]
    run(["createrepo_c", *options, *clock, folder], package="createrepo_c")
