"""Whether a lock still fits its stack."""

from __future__ import annotations

from typing import Any

import pytest

from landbridge.errors import InputError
from landbridge.lock import Artifact, Lock, Part, merge
from landbridge.lock_fit import faults, wanted_of
from landbridge.locking import ECOSYSTEMS, make_lock, update
from landbridge.stack import Stack

WANTED: dict[str, Any] = {
    "name": "s",
    "targets": ["el9-x86_64"],
    "rpm": {"packages": ["htop", "nginx"]},
    "conda": {"environments": {"base": {"packages": ["numpy >=2"], "kernel": "Base"}}},
    "images": [{"name": "tools/busybox:1"}],
}


def stack(**changes: Any) -> Stack:
    return Stack.model_validate({**WANTED, **changes})


def locked(wanted: Stack) -> Lock:
    return merge(wanted.name, wanted.targets, [], wanted_of(wanted))


def test_a_fresh_lock_fits() -> None:
    assert faults(locked(stack()), stack()) == []


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"rpm": {"packages": ["tmux", "nginx"]}},
            [
                "rpm.packages: htop is locked but no longer wanted",
                "rpm.packages: tmux is wanted but not locked",
            ],
        ),
        (
            {"rpm": {"packages": ["htop", "nginx"], "weak_dependencies": True}},
            ["rpm.weak_dependencies: false is locked, true is wanted"],
        ),
        (
            {"conda": {"environments": {"base": {"packages": ["numpy >=2.1"], "kernel": "Base"}}}},
            [
                "conda.environments.base.packages: numpy >=2 is locked but no longer wanted",
                "conda.environments.base.packages: numpy >=2.1 is wanted but not locked",
            ],
        ),
        (
            {"conda": {}},
            [
                "conda.environments.base.kernel: Base is locked, null is wanted",
                "conda.environments.base.packages: numpy >=2 is locked but no longer wanted",
            ],
        ),
        ({"images": []}, ["images: tools/busybox:1 is locked but no longer wanted"]),
        ({"name": "t"}, ["name: s is locked, t is wanted"]),
        (
            {"targets": ["el10-x86_64", "el9-x86_64"]},
            ["targets: el10-x86_64 is wanted but not locked"],
        ),
    ],
)
def test_every_difference_is_named(changes: dict[str, Any], lines: list[str]) -> None:
    assert faults(locked(stack()), stack(**changes)) == lines


def test_order_and_repeats_are_no_difference() -> None:
    assert faults(locked(stack()), stack(rpm={"packages": ["nginx", "htop", "nginx"]})) == []


def test_a_lock_older_than_a_key_of_the_stack_fits_while_the_key_is_empty() -> None:
    lock = locked(stack())
    del lock.wanted["pypi"]["allow_sdists"]
    assert faults(lock, stack()) == []
    assert faults(lock, stack(pypi={"allow_sdists": ["x"]})) == [
        "pypi.allow_sdists: x is wanted but not locked"
    ]


def test_an_unknown_name_is_refused_before_anything_is_resolved() -> None:
    with pytest.raises(InputError, match=r"not in the lock and not wanted: nosuch, other\n"):
        update(locked(stack()), ["other", "nosuch", "htop"], stack(), None, print)  # type: ignore[arg-type]


def test_a_source_with_credentials_never_reaches_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = Artifact(
        ecosystem="pypi",
        name="secretive",
        version="1",
        path="pypi/simple/secretive/x.whl",
        url="https://user:pass@mirror.example.com/x.whl",
        sha256="0" * 64,
        size=1,
    )

    class Careless:
        @staticmethod
        def resolve(*_: object) -> Part:
            return Part([artifact])

    monkeypatch.setattr("landbridge.locking.ECOSYSTEMS", {"pypi": Careless})
    assert "pypi" in ECOSYSTEMS
    with pytest.raises(InputError, match="holds credentials: secretive") as caught:
        make_lock(stack(), None, print)  # type: ignore[arg-type]
    assert "pass" not in str(caught.value)
