"""The SBOM: valid CycloneDX, the same bytes for the same lock, and true to the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from landbridge.bundle import manifest, sbom
from landbridge.bundle.r_binaries import Binary
from landbridge.bundle.r_packages import Package
from tests.unit.bundle import handmade
from tests.unit.locks_of_r import lock_of, r_package, rpm_r

PURLS = {
    "hello": "pkg:rpm/hello@2.0-3.el9?arch=noarch&distro=el9&epoch=1",
    "glibc": "pkg:rpm/glibc@2.39-1.el10?arch=x86_64&distro=el10",
    "app": "pkg:conda/app@1.0?build=h1_0&channel=conda&subdir=linux-64&type=conda",
    "lib": "pkg:conda/lib@2.1?build=py_0&channel=conda&subdir=noarch&type=tar.bz2",
    "tool": "pkg:pypi/tool@1.0",
    "old-backport": "pkg:pypi/old-backport@0.5",
    "Top": "pkg:cran/Top@1.0-2",
    "landbridge": "pkg:pypi/landbridge@0.1.0",
    "ansible.posix": "pkg:generic/ansible.posix@2.1.0",
    "tools/busybox": "pkg:oci/busybox@sha256:" + "ab" * 32,
}


@pytest.fixture(scope="module")
def text() -> str:
    return sbom.document(handmade.lock())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return handmade.bundle(tmp_path)


def components(text: str) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in json.loads(text)["components"]}


def test_it_is_valid_and_says_what_it_is_of(text: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    data = json.loads(text)
    assert data["metadata"]["component"]["name"] == "small"
    assert len(data["metadata"]["component"]["version"]) == 12
    assert "timestamp" not in data["metadata"]


def test_equal_locks_give_equal_bytes_and_others_another_number(text: str) -> None:
    assert sbom.document(handmade.lock()) == text
    other = handmade.lock().model_copy(update={"stack": "large"})
    assert json.loads(sbom.document(other))["serialNumber"] != json.loads(text)["serialNumber"]


def test_every_artifact_but_public_keys_has_its_purl(text: str) -> None:
    found = {name: component["purl"] for name, component in components(text).items()}
    image = found.pop("tools/busybox")
    assert image.startswith(PURLS["tools/busybox"])
    assert image.endswith("?repository_url=registry.example/tools/busybox&tag=1")
    assert found == {name: purl for name, purl in PURLS.items() if name != "tools/busybox"}


def test_a_compiled_r_package_is_a_component_that_depends_on_its_source(text: str) -> None:
    source = next(iter(handmade.lock().of("cran")))
    path = f"cran/binaries/el9-x86_64/4.5/src/contrib/{source.file}"
    binary = Binary(path, "cd" * 32, Package(source, {}, ()), "el9-x86_64", "4.5.2")
    more = sbom.document(handmade.lock(), [binary])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(more) is None
    data = json.loads(more)
    assert data["serialNumber"] != json.loads(text)["serialNumber"]
    found = next(one for one in data["components"] if one["bom-ref"] == path)
    assert found["purl"] == PURLS["Top"]
    assert found["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    assert {"ref": path, "dependsOn": [source.path]} in data["dependencies"]


def test_a_compiled_r_package_that_the_sbom_does_not_list_is_a_fault(bundle: Path) -> None:
    path = "cran/binaries/el9-x86_64/4.5/src/contrib/Top_1.0-2.tar.gz"
    (bundle / path).parent.mkdir(parents=True)
    (bundle / path).write_bytes(b"compiled")
    entries = manifest.describe(bundle, manifest.files_of(bundle), {})
    assert sbom.faults(bundle, entries) == [f"does not list {path}"]


def test_licences_are_spdx_where_they_can_be(text: str) -> None:
    found = {name: component.get("licenses") for name, component in components(text).items()}
    assert found["tool"] == [{"license": {"id": "MIT"}}]
    assert found["glibc"] == [{"expression": "LGPL-2.1-or-later AND BSD-3-Clause"}]
    assert found["hello"] == [{"license": {"name": "GPLv2+ and MIT"}}]
    assert found["Top"] == [{"license": {"name": "MIT + file LICENSE"}}]
    assert found["lib"] is None


def test_dependencies_are_the_locks_own(text: str) -> None:
    needs = {d["ref"]: d.get("dependsOn", []) for d in json.loads(text)["dependencies"]}
    of = {name: component["bom-ref"] for name, component in components(text).items()}
    assert needs[of["app"]] == [of["lib"]]
    assert needs[of["tool"]] == [of["old-backport"]]
    assert of["lib"] not in needs["small"]
    assert {of["app"], of["tool"], of["hello"]} <= set(needs["small"])


def test_a_name_in_two_targets_depends_on_its_own_kind() -> None:
    one, two = (a for a in handmade.lock().artifacts if a.ecosystem == "rpm")
    both = [
        *(a.model_copy(update={"name": "top"}) for a in (one, two)),
        one.model_copy(
            update={"name": "low", "path": "rpm/el9-x86_64/Packages/low", "required_by": ["top"]}
        ),
    ]
    data = json.loads(sbom.document(handmade.lock().model_copy(update={"artifacts": both})))
    needs = {d["ref"]: d.get("dependsOn", []) for d in data["dependencies"]}
    assert needs[one.path] == ["rpm/el9-x86_64/Packages/low"]
    assert needs[two.path] == []


def test_it_agrees_with_the_manifest(bundle: Path) -> None:
    _, entries = manifest.read_manifest(bundle)
    assert sbom.faults(bundle, entries) == []


def change(bundle: Path, name: str, **fields: Any) -> list[str]:
    """The faults of an SBOM in which one component has other fields; None drops it."""
    file = bundle / sbom.NAME
    data = json.loads(file.read_text())
    component = next(c for c in data["components"] if c["name"] == name)
    if fields:
        component |= fields
    else:
        data["components"].remove(component)
    file.write_text(json.dumps(data))
    return sbom.faults(bundle, manifest.read_manifest(bundle)[1])


def test_every_lie_is_named(bundle: Path) -> None:
    wheel, rpm = "pypi/simple/tool/tool-1.0-py3-none-any.whl", handmade.SPECS[0]["path"]
    other = [{"alg": "SHA-256", "content": "cd" * 32}]
    found = change(bundle, "tool", hashes=other)
    assert [fault.startswith(f"{wheel}: sha256 {'cd' * 32} instead of") for fault in found] == [
        True
    ]
    assert change(bundle, "hello")[1:] == [f"does not list {rpm}"]
    elsewhere = [
        {"name": "landbridge:ecosystem", "value": "cran"},
        {"name": "landbridge:path", "value": "cran/src/contrib/Gone_1.tar.gz"},
    ]
    found = change(bundle, "Top", properties=elsewhere)
    assert "lists cran/src/contrib/Gone_1.tar.gz, which is not there" in found
    assert "does not list cran/src/contrib/Top_1.0-2.tar.gz" in found
    assert "does not list image localhost/tools/busybox:1" in change(bundle, "tools/busybox")


def test_an_image_that_is_not_there_is_named(bundle: Path) -> None:
    (bundle / "images/index.json").write_text('{"manifests": []}')
    found = sbom.faults(bundle, manifest.read_manifest(bundle)[1])
    assert found == ["lists image localhost/tools/busybox:1, which is not there"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"components": [{}]}'])
def test_what_is_no_sbom_is_a_fault(bundle: Path, text: str) -> None:
    (bundle / sbom.NAME).write_text(text)
    found = sbom.faults(bundle, manifest.read_manifest(bundle)[1])
    assert len(found) == 1
    assert found[0].startswith("cannot be compared")


def test_versions_of_an_r_package_are_components_of_their_own() -> None:
    """And what needs an RPM is said across the ecosystems."""
    lock = lock_of(
        rpm_r("2.9", "el9-x86_64", name="libxml2", required_by=["cran:xml2"]),
        r_package("xml2", "1.3", required_by=["top"]),
        r_package("top", "1.0", targets="projects site"),
        r_package("xml2", "1.2", targets="projects", archived=True, required_by=["top"]),
    )
    data = json.loads(sbom.document(lock))
    old, new = "cran/src/contrib/Archive/xml2/xml2_1.2.tar.gz", "cran/src/contrib/xml2_1.3.tar.gz"
    purls = {c["bom-ref"]: c["purl"] for c in data["components"]}
    assert (purls[old], purls[new]) == ("pkg:cran/xml2@1.2", "pkg:cran/xml2@1.3")
    needs = {d["ref"]: d["dependsOn"] for d in data["dependencies"]}
    rpm = "rpm/el9-x86_64/Packages/libxml2-2.9.rpm"
    assert needs[old] == needs[new] == [rpm]
    assert needs["cran/src/contrib/top_1.0.tar.gz"] == [old, new]
    assert rpm not in needs["shop"]


def test_an_archived_package_that_is_not_listed_is_a_fault(bundle: Path) -> None:
    path = "cran/src/contrib/Archive/glue/glue_1.5.0.tar.gz"
    _, entries = manifest.read_manifest(bundle)
    entries[path] = next(iter(entries.values()))
    assert f"does not list {path}" in sbom.faults(bundle, entries)
