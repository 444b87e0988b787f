"""What Debian says of a package, said in RPM's terms."""

import pytest

from tests.lab import deb2rpm
from tests.lab.platforms import words


@pytest.mark.parametrize(
    ("debian", "rpm"),
    [
        ("1.2-3", ("", "1.2", "3.el9")),
        ("1:2.3~rc1-4+b1", ("1", "2.3~rc1", "4+b1.el9")),
        ("20230311", ("", "20230311", "1.el9")),
        ("4.3.1+ds1-8+deb12u1+b3", ("", "4.3.1+ds1", "8+deb12u1+b3.el9")),
        ("0.0~git20230309.7c7625d-1", ("", "0.0~git20230309.7c7625d", "1.el9")),
        ("2-1-5", ("", "2_1", "5.el9")),  # RPM allows no hyphen in a version
    ],
)
def test_a_version_becomes_epoch_version_and_release(
    debian: str, rpm: tuple[str, str, str]
) -> None:
    assert deb2rpm.evr(debian, "el9") == rpm


@pytest.mark.parametrize(
    ("relation", "names"),
    [
        ("libc6 (>= 2.34)", ["libc6"]),
        ("libblas3 | libblas.so.3", ["libblas3", "libblas.so.3"]),
        (" python3:any (>= 3.11~) ", ["python3"]),
        ("g++ (>= 4:10.2) [amd64]", ["g++"]),
        ("", []),
    ],
)
def test_a_relation_names_its_alternatives_in_order(relation: str, names: list[str]) -> None:
    assert deb2rpm.alternatives(relation) == names


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/bin/ls", "/usr/bin/ls"),
        ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"),
        ("/sbin", "/usr/sbin"),
        ("/library/x", "/library/x"),
        ("/usr/lib/x", "/usr/lib/x"),
    ],
)
def test_a_file_of_the_old_folders_is_in_usr(path: str, place: str) -> None:
    assert deb2rpm.folded(path) == place


def test_two_packages_of_one_platform_never_share_a_name() -> None:
    """Apart from the twins of the two Debian releases (`libssl3`, `libssl3t64`)."""
    twins = {"libssl", "libcurl", "libpython", "libicu", "libpng16", "libuv1"}
    seen: dict[str, str] = {}
    for debian, rhel in deb2rpm.NAMES.items():
        if rhel in seen:
            assert any(debian.startswith(twin) for twin in twins), (debian, seen[rhel])
        seen[rhel] = debian


def test_a_package_without_a_name_of_its_own_keeps_debians() -> None:
    assert deb2rpm.rpm_name("r-base-core") == "R-core"
    assert deb2rpm.rpm_name("nftables") == "nftables"


def test_lists_skip_comments_and_have_no_repeats() -> None:
    for name in ("base.txt", "offered.txt", "dropped.txt", "masked.txt"):
        listed = words(name)
        assert listed, name
        assert "#" not in listed, name
        assert len(set(listed)) == len(listed), name
