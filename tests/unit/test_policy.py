"""Policy: every rule refuses what it should, says who wants it, and lets the rest through."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from landbridge.errors import InputError, PolicyError
from landbridge.lock import Artifact, Lock
from landbridge.policy import Policy, enforce, load_policy, violations

ROOT = Path(__file__).parents[2]
TODAY = date(2025, 6, 15)


def artifact(ecosystem: str = "pypi", name: str = "numpy", **fields: object) -> Artifact:
    values = {"version": "1.26.4", "license": "BSD-3-Clause", "released": "2024-02-05"}
    values |= {"url": f"https://pypi.example.com/files/{name}", "sha256": "0" * 64, "size": 1}
    values |= {"path": f"{ecosystem}/{name}"}
    return Artifact.model_validate({"ecosystem": ecosystem, "name": name, **values, **fields})


def lock(*artifacts: Artifact) -> Lock:
    return Lock(stack="x", targets=["el9-x86_64"], artifacts=list(artifacts))


def offences(policy: dict[str, object] | Policy, *artifacts: Artifact) -> list[str]:
    """What is wrong, without who it is about and who wants it."""
    lines = violations(Policy.model_validate(policy), lock(*artifacts), TODAY)
    return [line.split(": ", 1)[1].rsplit("; ", 1)[0] for line in lines]


def test_without_rules_all_may_come() -> None:
    assert offences({}, artifact(license="", released="")) == []


@pytest.mark.parametrize(
    ("rules", "name", "expected"),
    [
        ({"allow": ["num*", "scipy"]}, "numpy", []),
        ({"allow": ["scipy"]}, "numpy", ["name is not allowed"]),
        ({"allow": []}, "numpy", ["name is not allowed"]),
        ({"deny": ["Num*"]}, "numpy", ["name is denied (Num*)"]),
        ({"deny": ["num"]}, "numpy", []),
        ({"deny": ["zope_interface"]}, "zope.interface", ["name is denied (zope_interface)"]),
    ],
)
def test_names(rules: dict[str, object], name: str, expected: list[str]) -> None:
    assert offences({"pypi": rules}, artifact(name=name)) == expected


@pytest.mark.parametrize(
    ("glob", "refused"),
    [("1.26.4", True), ("1.26.*", True), ("1.2", False), ("1.26", False), ("*", True)],
)
def test_versions(glob: str, refused: bool) -> None:
    expected = [f"version is denied (num*: {glob})"] if refused else []
    assert offences({"pypi": {"deny_versions": {"num*": [glob]}}}, artifact()) == expected
    assert offences({"pypi": {"deny_versions": {"other": [glob]}}}, artifact()) == []


@pytest.mark.parametrize("glob", ["1:2", "2", "1:2-3.el9", "2-3.el9", "2-*"])
def test_an_rpm_s_version_may_be_given_with_and_without_epoch_and_release(glob: str) -> None:
    rpm = artifact("rpm", "foo", version="1:2", build="3.el9")
    assert len(offences({"rpm": {"deny_versions": {"foo": [glob]}}}, rpm)) == 1


@pytest.mark.parametrize(
    ("rules", "text", "fault"),
    [
        ({"deny": ["GPL-3.0-only"]}, "MIT", None),
        ({"deny": ["gpl-3.0-ONLY"]}, "GPL-3.0-only", "denied"),
        ({"deny": ["GPL-3.0-only"]}, "GPL-3.0", "denied"),
        ({"deny": ["GPL-3.0"]}, "GPL-3.0-only", "denied"),
        ({"deny": ["GPL-3.0-only"]}, "LGPL-3.0-only", None),
        ({"deny": ["GPL-3.0-only"]}, "MIT OR GPL-3.0-only", None),
        ({"deny": ["GPL-3.0-only"]}, "MIT AND GPL-3.0-only", "denied"),
        ({"deny": ["GPL-3.0-only"]}, "MIT AND (ISC OR GPL-3.0-only)", None),
        ({"deny": ["GPL-2.0-*"]}, "GPL-2.0-or-later WITH GCC-exception-3.1", "denied"),
        ({"deny": ["GPLv2*"]}, "MIT and GPLv2+", "denied"),
        ({"deny": ["GPL (>= 2)"]}, "GPL (>= 2)", "denied"),
        ({"deny": ["GPL-2"]}, "GPL-2 | GPL-3", None),
        ({"deny": ["GPL-[23]"]}, "GPL-2 | GPL-3", "denied"),
        ({"deny": ["LicenseRef-*"]}, "MIT", None),
        ({"deny": ["*proprietary*"]}, "Proprietary, see https://x.example (c) me", "denied"),
        ({"allow": ["MIT"]}, "MIT", None),
        ({"allow": ["MIT"]}, "MIT + file LICENSE", None),
        ({"allow": ["MIT"]}, "MIT AND ISC", "not allowed"),
        ({"allow": ["MIT"]}, "MIT OR ISC", None),
        ({"allow": ["GPL-2.0-or-later"]}, "GPL-2.0-or-later WITH GCC-exception-3.1", None),
        ({"allow": ["MIT", "ISC"], "deny": ["MIT"]}, "MIT OR BSD-3-Clause", "not allowed"),
        ({"allow": ["MIT"]}, "see COPYING; (", "not allowed"),
    ],
)
def test_licenses(rules: dict[str, list[str]], text: str, fault: str | None) -> None:
    policy = {"all": {f"{key}_licenses": globs for key, globs in rules.items()}}
    expected = [f"licence {text} is {fault}"] if fault else []
    assert offences(policy, artifact(license=text)) == expected


def test_a_whole_license_text_is_shown_in_short() -> None:
    policy = {"all": {"deny_licenses": ["*warranty*"]}}
    found = offences(policy, artifact(license="No\nwarranty, " + "at all, " * 99))
    assert found[0].startswith("licence No warranty, at all")
    assert len(found[0]) < 120


@pytest.mark.parametrize(
    ("answer", "expected"), [("allow", []), ("deny", ["licence is unknown"]), (None, [])]
)
def test_unknown_licenses(answer: str | None, expected: list[str]) -> None:
    rules = {"allow_licenses": ["MIT"]} | ({"unknown_license": answer} if answer else {})
    assert offences({"all": rules}, artifact(license="")) == expected


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ("pypi.example.com", True),
        ("*.example.com", True),
        ("example.com", False),
        ("https://pypi.example.com", True),
        ("https://*.example.com/files", True),
        ("https://pypi.example.com/files/", True),
        ("https://pypi.example.com/fil", False),
        ("http://pypi.example.com/", False),
        ("https://pypi.example.com:8443/", False),
    ],
)
def test_sources(entry: str, allowed: bool) -> None:
    found = offences({"pypi": {"allow_sources": ["other.example", entry]}}, artifact())
    refusal = "source https://pypi.example.com/files/numpy is not allowed"
    assert found == ([] if allowed else [refusal])


def test_a_path_that_climbs_out_of_a_source_is_refused() -> None:
    url = "https://pypi.example.com/files/../other/x"
    policy = {"all": {"allow_sources": ["https://pypi.example.com/files"]}}
    assert offences(policy, artifact(url=url)) == [f"source {url} is not allowed"]


def test_images_and_folders_are_sources_too() -> None:
    policy = {"all": {"allow_sources": ["docker://r.example:5000/tools", "file:///mirror"]}}
    image = artifact("oci", "tools/x:1", url="docker://r.example:5000/tools/x@sha256:0")
    assert offences(policy, image, artifact(url="file:///mirror/x")) == []
    assert len(offences(policy, artifact(url="file:///mirrors/x"))) == 1


@pytest.mark.parametrize(
    ("released", "expected"),
    [
        ("2025-06-01", []),
        ("2025-06-02", ["released 2025-06-02, 13 days ago, 14 are wanted"]),
        ("2025-06-16", ["released 2025-06-16, -1 days ago, 14 are wanted"]),
        ("", ["day of release is unknown, 14 days of age are wanted"]),
    ],
)
def test_age(released: str, expected: list[str]) -> None:
    assert offences({"all": {"minimum_age_days": 14}}, artifact(released=released)) == expected


def test_an_unknown_age_may_be_allowed() -> None:
    rules = {"minimum_age_days": 14, "unknown_age": "allow"}
    assert offences({"all": rules}, artifact(released="")) == []


def test_what_is_made_here_has_no_source_and_no_age() -> None:
    made = artifact("collection", "ns.name", url="built:x.tar.gz", released="", license="")
    rules = {"minimum_age_days": 14, "allow_sources": ["a.example"], "unknown_license": "deny"}
    assert offences({"all": rules}, made) == ["licence is unknown"]


def test_keys_of_repositories_only_need_an_allowed_source() -> None:
    key = artifact("rpm-key", "release", license="", released="")
    rules = {"allow": [], "unknown_license": "deny", "minimum_age_days": 9}
    assert offences({"rpm": rules}, key) == []
    assert len(offences({"rpm": {"allow_sources": ["other.example"]}}, key)) == 1


def test_denials_add_up_and_other_keys_replace_those_of_all() -> None:
    policy = {
        "all": {
            "deny": ["a"],
            "deny_licenses": ["MIT"],
            "deny_versions": {"x": ["1"]},
            "allow_sources": ["a.example"],
            "minimum_age_days": 30,
        },
        "pypi": {
            "deny": ["b"],
            "deny_licenses": ["ISC"],
            "deny_versions": {"x": ["2"]},
            "allow_sources": ["b.example"],
            "minimum_age_days": 0,
        },
    }
    rules = Policy.model_validate(policy).rules("pypi")
    assert (rules.deny, rules.deny_licenses) == (["a", "b"], ["MIT", "ISC"])
    assert rules.deny_versions == {"x": ["1", "2"]}
    assert (rules.allow_sources, rules.minimum_age_days) == (["b.example"], 0)
    assert Policy.model_validate(policy).rules("conda").allow_sources == ["a.example"]
    assert Policy.model_validate(policy).all.deny_versions == {"x": ["1"]}


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        ({"ecosystem": "pypi", "name": "num*"}, 0),
        ({"ecosystem": "pypi", "name": "numpy", "version": "1.26.*"}, 0),
        ({"ecosystem": "pypi", "name": "numpy", "version": "2.*"}, 1),
        ({"ecosystem": "conda", "name": "numpy"}, 1),
    ],
)
def test_exceptions(exception: dict[str, str], expected: int) -> None:
    policy = {"all": {"deny": ["*"]}, "exceptions": [exception | {"reason": "because"}]}
    assert len(offences(policy, artifact())) == expected


def test_a_line_tells_who_wants_it_by_the_shortest_chain() -> None:
    parts = [
        artifact("rpm", "wanted", targets=["el9-x86_64"]),
        artifact("rpm", "bar", required_by=["wanted"]),
        artifact("rpm", "long", required_by=["bar"]),
        artifact(
            "rpm",
            "foo",
            version="1:2",
            build="3",
            license="AGPL-3.0-only",
            targets=["el9-x86_64"],
            required_by=["bar", "long"],
        ),
        artifact("conda", "foo", license="AGPL-3.0-only"),
    ]
    policy = Policy.model_validate({"all": {"deny_licenses": ["AGPL-*"]}})
    assert violations(policy, lock(*parts), TODAY) == [
        "rpm foo 1:2-3 (el9-x86_64): licence AGPL-3.0-only is denied; required by: bar <- wanted",
        "conda foo 1.26.4: licence AGPL-3.0-only is denied; wanted by the stack",
    ]


def test_packages_that_require_each_other_end_the_chain() -> None:
    parts = [artifact(name="a", required_by=["b"]), artifact(name="b", required_by=["a"])]
    lines = violations(Policy.model_validate({"all": {"deny": ["a"]}}), lock(*parts), TODAY)
    assert lines == ["pypi a 1.26.4: name is denied (a); required by: b"]


def test_a_name_wanted_on_one_target_is_wanted() -> None:
    parts = [
        artifact("rpm", "a", path="1", required_by=["top"]),
        artifact("rpm", "a", path="2"),
        artifact("rpm", "b", required_by=["a"]),
        artifact("rpm", "top"),
    ]
    lines = violations(Policy.model_validate({"all": {"deny": ["b"]}}), lock(*parts), TODAY)
    assert [line.rsplit("; ")[-1] for line in lines] == ["required by: a"]


def test_every_offender_is_listed_with_exit_code_3() -> None:
    policy = Policy.model_validate({"all": {"deny": ["a*"], "minimum_age_days": 1}})
    parts = lock(artifact(name="a1", released=""), artifact(name="a2"), artifact(name="b"))
    with pytest.raises(PolicyError) as caught:
        enforce(policy, parts, TODAY)
    assert caught.value.exit_code == 3
    assert caught.value.message.count("\n") == 3
    assert all(text in caught.value.message for text in ("3 thing", "pypi a1", "pypi a2"))
    enforce(policy, lock(artifact(name="b")), TODAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all: {alow: [x]}\n", ":1: unknown key 'all.alow'"),
        ("npm: {}\n", ":1: unknown key 'npm'"),
        ("all:\n  minimum_age_days: '7'\n", ":2: 'all.minimum_age_days'"),
        ("all:\n  minimum_age_days: -1\n", ":2: 'all.minimum_age_days'"),
        ("pypi:\n  deny_versions:\n    x: [1.10]\n", ":3: 'pypi.deny_versions.x.0'"),
        ("pypi:\n  unknown_age: perhaps\n", ":2: 'pypi.unknown_age'"),
        ("exceptions: [{ecosystem: pypi, name: x}]\n", ":1: 'exceptions.0.reason'"),
        ("exceptions: [{ecosystem: pip, name: x, reason: y}]\n", "'exceptions.0.ecosystem'"),
    ],
)
def test_wrong_keys_are_named_with_their_line(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "policy.yml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_policy(file)
    assert str(file) in caught.value.message
    assert expected in caught.value.message


def test_the_example_does_what_it_says() -> None:
    policy = load_policy(ROOT / "stacks" / "policy.example.yml")
    assert policy.exceptions[0].name == "certifi"
    refused = artifact(name="torch", version="2.0.1", url="https://pypi.example.com/x")
    assert offences(policy, refused) == ["version is denied (torch: 2.0.*)"]
    assert offences(policy, artifact(name="torch", version="2.2.0")) == []


def test_the_example_in_the_documentation_is_the_one_that_is_shipped() -> None:
    shipped = (ROOT / "stacks" / "policy.example.yml").read_text()
    assert shipped in (ROOT / "docs" / "policy.md").read_text()


def test_the_chain_goes_from_an_rpm_to_the_r_packages_that_need_it() -> None:
    rpm = artifact("rpm", "libxml2", license="AGPL-3.0-only", required_by=["cran:xml2"])
    xml2 = artifact("cran", "xml2", required_by=["tidy"])
    tidy = artifact("cran", "tidy")
    rules = Policy.model_validate({"rpm": {"deny_licenses": ["AGPL-*"]}})
    lines = violations(rules, lock(rpm, xml2, tidy), TODAY)
    assert [line.rsplit("; ", 1)[1] for line in lines] == [
        "required by: cran:xml2 <- cran:tidy",
    ]


def test_each_version_of_an_r_package_is_judged_itself() -> None:
    new = artifact("cran", "glue", version="1.7.0", targets=["site"])
    old = artifact("cran", "glue", version="1.5.0", targets=["projects"], path="cran/Archive/glue")
    rules = Policy.model_validate({"cran": {"deny_versions": {"glue": ["1.5.*"]}}})
    lines = violations(rules, lock(new, old), TODAY)
    assert [line.split(":")[0] for line in lines] == ["cran glue 1.5.0 (projects)"]
    exempt = {"ecosystem": "cran", "name": "glue", "version": "1.5.0", "reason": "a project"}
    assert not violations(
        Policy.model_validate({"cran": {"deny": ["glue"]}, "exceptions": [exempt]}),
        lock(old),
        TODAY,
    )
