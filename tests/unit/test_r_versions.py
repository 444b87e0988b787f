"""Which R a lock gives, and which packages it is too old for."""

from __future__ import annotations

import pytest

from landbridge.errors import InputError
from landbridge.r_versions import refuse_too_old, versions
from tests.unit.locks_of_r import conda_r, lock_of, r_package, rpm_r

EL9, EL10 = "el9-x86_64", "el10-x86_64"
RPMS = (rpm_r("4.2.2", EL9), rpm_r("4.5.0", EL10))


def test_r_of_rpms_is_told_by_target() -> None:
    assert versions(lock_of(*RPMS)) == {EL9: ["4.2.2"], EL10: ["4.5.0"]}
    assert versions(lock_of(RPMS[0], r_package("R6", "2"))) == {EL9: ["4.2.2"], EL10: []}


def test_r_of_environments_is_in_the_stacks_order_and_the_rpms_do_not_count() -> None:
    lock = lock_of(*RPMS, provider="conda", new=conda_r("4.4.1"), old=conda_r("4.2.3"))
    assert versions(lock) == {EL9: ["4.4.1", "4.2.3"], EL10: ["4.4.1", "4.2.3"]}


def test_a_package_that_wants_a_newer_r_is_named_with_the_target() -> None:
    new = r_package("cli", "3.7", Depends="R (>= 4.3.0)")
    fine = r_package("R6", "2.6", Depends="R (>= 4.2)")
    with pytest.raises(InputError) as caught:
        refuse_too_old(lock_of(*RPMS, new, fine))
    assert caught.value.message == ("r, el9-x86_64: cli 3.7 needs R (>= 4.3.0), there is R 4.2.2")
    assert "==" in caught.value.mend


def test_every_r_of_the_environments_must_do() -> None:
    new = r_package("cli", "3.7", Depends="R (>= 4.3)")
    refuse_too_old(lock_of(new, provider="conda", new=conda_r("4.4.1")))
    with pytest.raises(InputError, match=r"there is R 4\.2\.3"):
        refuse_too_old(lock_of(new, provider="conda", new=conda_r("4.4.1"), old=conda_r("4.2.3")))


def test_a_projects_package_is_the_projects_business() -> None:
    refuse_too_old(lock_of(*RPMS, r_package("cli", "3.7", targets="projects", Depends="R (>= 9)")))
