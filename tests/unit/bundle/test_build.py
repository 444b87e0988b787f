"""A whole bundle from small real upstreams, read back with each ecosystem's own tools."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from landbridge.bundle.build import Built, Options, build
from landbridge.bundle.fetch import Cache
from landbridge.bundle.verify import verify
from landbridge.ecosystems._cran_index import parse_packages
from landbridge.errors import InputError, LandbridgeError, SourceError
from landbridge.lock import load_lock
from landbridge.locking import ECOSYSTEMS, lock_stack
from landbridge.stack import Stack, load_stack
from tests.unit.small_upstreams import tool

EMPTY = {"name": "small", "targets": ["el9-x86_64"]}


def content(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "content.json").read_text())


def rebuild(site, tmp_path: Path, cache: Path, **changes: Any) -> Built:
    """Lock and build again with some keys of the stack replaced."""
    stack = yaml.safe_load(site.stack.read_text()) | changes
    sources = stack.pop("sources_file", site.sources)
    file = tmp_path / "stack.yml"
    file.write_text(yaml.dump(stack))
    output = tmp_path / "bundle"
    options = Options(stack_file=file, sources=sources, output=output, cache=cache)
    lock_stack(options, lambda _line: None)
    return build(options, lambda _line: None)


@pytest.fixture
def cache(bundle: Path) -> Path:
    return bundle.parent / "cache"


def test_bundle_is_what_its_manifest_says(bundle: Path) -> None:
    verdict = verify(bundle, allow_unsigned=True)
    assert verdict.problems() == []
    assert verdict.release == content(bundle)["release"]
    assert verdict.files > 30


def test_content_describes_every_part(bundle: Path) -> None:
    found = content(bundle)
    assert found["targets"]["el9-x86_64"]["python"] == "python3.12", "the platform's 3.9 is too old"
    assert found["targets"]["el10-x86_64"]["python"] == "python3"
    assert found["conda"]["environments"] == [
        {"name": "base", "lock": {"linux-64": "conda/envs/base.linux-64.txt"}, "kernel": "Base"}
    ]
    assert {p["name"]: p["requires"] for p in found["r"]["packages"]} == {
        "Low": [],
        "Middle": ["Low"],
        "Top": ["Middle"],
    }
    assert [image["name"] for image in found["images"]] == ["localhost/tools/tiny:1"]
    assert all((bundle / key).is_file() for key in found["rpm_keys"])
    assert found["installed_bytes"]["conda"] == len("app 1.0\n") + len("lib 2.1\n")
    assert len(found["toolkit"]["id"]) == 12


def test_lock_names_source_hash_and_reason(bundle: Path) -> None:
    lock = load_lock(bundle / "stack.lock")
    library = next(a for a in lock.of("rpm") if a.name == "libhello" and "el9-x86_64" in a.targets)
    assert library.required_by == ["hello"]
    assert library.url.endswith("/el9/repo/libhello-2.0-1.noarch.rpm")
    assert library.installed_size == len("libhello\n")
    wheel = next(a for a in lock.of("pypi") if a.name == "tool")
    assert wheel.targets == ["3.11", "3.12"]


def test_dnf_reads_the_repository_and_its_file_lists(bundle: Path, tmp_path: Path) -> None:
    repo = (bundle / "rpm/el9-x86_64").as_uri()
    options = [f"--setopt=cachedir={tmp_path}", f"--setopt=reposdir={tmp_path}", "--quiet"]
    query = ["repoquery", "--repofrompath", f"b,{repo}", "--qf", "%{name}"]
    assert tool("dnf", *options, *query, "/usr/share/libhello/file").split() == ["libhello"]


def test_a_conda_client_solves_from_the_channel(bundle: Path) -> None:
    code = (
        "import asyncio, os, rattler, sys\n"
        "r = asyncio.run(rattler.solve([sys.argv[1]], ['app'], platforms=['linux-64', 'noarch'],"
        " virtual_packages=[rattler.GenericVirtualPackage(rattler.PackageName('__glibc'),"
        " rattler.Version('2.34'), rattler.BuildString('0'))]))\n"
        "print(*sorted(f'{x.subdir}/{x.file_name}#{x.sha256.hex()}' for x in r), flush=True)\n"
        "os._exit(0)"
    )
    solved = tool(sys.executable, "-c", code, (bundle / "conda").as_uri()).split()
    lines = (bundle / "conda/envs/base.linux-64.txt").read_text().splitlines()
    explicit = lines[lines.index("@EXPLICIT") + 1 :]
    assert sorted(explicit) == solved
    assert explicit[0].startswith("noarch/lib-2.1"), "what others need comes first"
    assert explicit[1].startswith("linux-64/app-1.0"), "2.0 wants a newer glibc than EL9 has"


def test_pip_installs_from_the_index_for_each_python(bundle: Path, tmp_path: Path) -> None:
    index = (bundle / "pypi/simple").as_uri()
    environment = {**os.environ, "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "0"}
    options = ["--index-url", index, "--target", tmp_path / "t", "--quiet"]
    tool(sys.executable, "-m", "pip", "install", *options, "tool", env=environment)
    assert (tmp_path / "t/tool.py").exists()
    assert (tmp_path / "t/old_backport.py").exists()


def test_markers_are_those_of_the_target(bundle: Path) -> None:
    """pip alone evaluates them for the Python that it runs on."""
    names = {
        python: [
            line.split("==")[0]
            for line in (bundle / f"toolkit/requirements-{python}.txt").read_text().splitlines()
        ]
        for python in ("3.11", "3.12", "3.13")
    }
    assert names["3.11"] == names["3.12"] == ["landbridge", "pip"]
    assert names["3.13"] == ["landbridge", "old-backport", "pip"]


def test_skopeo_reads_the_layout(bundle: Path) -> None:
    image = f"oci:{bundle}/images:localhost/tools/tiny:1"
    digest = json.loads(tool("skopeo", "inspect", image))["Digest"]
    assert digest == content(bundle)["images"][0]["digest"]


def test_cran_index_holds_the_closure_verbatim(bundle: Path) -> None:
    packages = parse_packages((bundle / "cran/src/contrib/PACKAGES").read_text())
    assert sorted(packages) == ["Low", "Middle", "Top"]
    assert "Imports: Middle,\n    utils" in packages["Top"]["stanza"]


def test_ansible_galaxy_accepts_the_collections(bundle: Path, tmp_path: Path) -> None:
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    tarballs = sorted((bundle / "collections").iterdir())
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home")}
    # --force: the build extra's own copies, which count as installed, must not satisfy it.
    command = [galaxy, "collection", "install", "--offline", "--force", "-p", tmp_path / "c"]
    tool(*command, *tarballs, env=environment)
    names = ["ansible/posix", "community/general", "containers/podman"]
    for name, tarball in zip(names, tarballs, strict=True):
        manifest = tmp_path / "c/ansible_collections" / name / "MANIFEST.json"
        version = json.loads(manifest.read_text())["collection_info"]["version"]
        assert tarball.name == f"{name.replace('/', '-')}-{version}.tar.gz"


def test_a_second_build_fetches_nothing_and_gives_the_same_bytes(
    site, bundle: Path, cache: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    options = Options(
        stack_file=site.stack,
        sources=site.sources,
        lock_file=tmp_path / "two.lock",
        output=tmp_path / "two",
        cache=cache,
    )
    built = build(options, lines.append)
    assert (tmp_path / "two/manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()
    assert (tmp_path / "two.lock").read_bytes() == (bundle / "stack.lock").read_bytes()
    assert built.fetched == 0, "locking learned what it had to, building fetched nothing"
    stages = [line.split()[0] for line in lines]
    assert stages[-5:] == ["lock", "fetch", "assemble", "index", "manifest"]


@pytest.mark.usefixtures("only_rpm")
def test_an_old_bundle_is_replaced_and_a_foreign_folder_is_not(
    site, cache: Path, tmp_path: Path
) -> None:
    first = rebuild(site, tmp_path, cache, targets=["el9-x86_64"])
    assert not (tmp_path / "bundle/rpm/el10-x86_64").exists()
    second = rebuild(site, tmp_path, cache)
    assert second.release != first.release
    assert (tmp_path / "bundle/rpm/el10-x86_64/repodata/repomd.xml").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "stack.lock", "stack.yml"]
    (tmp_path / "bundle/manifest.json").unlink()
    with pytest.raises(InputError, match="not a bundle"):
        rebuild(site, tmp_path, cache)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"rpm": {"packages": ["nosuch"]}}, InputError, "no such package in base: nosuch"),
        (
            {"conda": {"environments": {"x": {"packages": ["nosuch >=1"]}}}},
            InputError,
            "environment 'x'.*nosuch",
        ),
        (
            {"conda": {"environments": {"x": {"packages": ["app >=>"]}}}},
            InputError,
            "environment 'x'.*>=>",
        ),
        ({"pypi": {"packages": ["nosuch"]}}, InputError, "Python 3.11.*nosuch"),
        ({"r": {"packages": ["nosuch"]}}, InputError, "no package nosuch"),
        ({"images": [{"name": "tools/nosuch:1"}]}, SourceError, "tools/nosuch:1.*unknown"),
    ],
)
def test_a_wrong_wish_is_one_clear_error(
    site, cache: Path, changes: dict[str, Any], kind: type, message: str
) -> None:
    stack = load_stack(site.stack, site.sources)
    wishes = Stack.model_validate({**EMPTY, **changes, "sources": stack.sources})
    with pytest.raises(kind, match=f"(?s){message}"):
        for ecosystem in ECOSYSTEMS.values():
            ecosystem.resolve(wishes, Cache(cache), None)


def broken_sources(site, tmp_path: Path) -> Path:
    """A copy of the EL9 repository, and a sources file that uses it for both targets."""
    shutil.copytree(site.root / "el9", tmp_path / "el9")
    sources = yaml.safe_load(site.sources.read_text())
    folder = (tmp_path / "el9").as_uri()
    one = {"id": "base", "baseurl": f"{folder}/repo", "gpgkey": f"{folder}/RPM-GPG-KEY-test"}
    sources["rpm"] = {"el9-x86_64": [one], "el10-x86_64": [one]}
    (tmp_path / "sources.yml").write_text(yaml.dump(sources))
    return tmp_path / "sources.yml"


@pytest.mark.usefixtures("only_rpm")
def test_an_unsigned_rpm_is_refused(site, cache: Path, tmp_path: Path) -> None:
    sources = broken_sources(site, tmp_path)
    repo = tmp_path / "el9/repo"
    tool("rpmsign", "--delsign", next(repo.glob("hello-*.rpm")))
    tool("createrepo_c", "--quiet", repo)
    with pytest.raises(SourceError, match=r"el9-x86_64/Packages/hello-1\.0-1\.noarch\.rpm"):
        rebuild(site, tmp_path, cache, sources_file=sources)


@pytest.mark.usefixtures("only_rpm")
def test_an_rpm_signed_by_another_key_is_refused(site, cache: Path, tmp_path: Path) -> None:
    sources = broken_sources(site, tmp_path)
    shutil.copy(site.root / "el10/RPM-GPG-KEY-test", tmp_path / "el9/RPM-GPG-KEY-test")
    with pytest.raises(SourceError, match=r"hello-1\.0.*SIGNATURES NOT OK"):
        rebuild(site, tmp_path, cache, sources_file=sources)


@pytest.mark.usefixtures("only_rpm")
def test_a_changed_rpm_is_refused(site, tmp_path: Path) -> None:
    sources = broken_sources(site, tmp_path)
    rpm = next((tmp_path / "el9/repo").glob("hello-*.rpm"))
    rpm.write_bytes(rpm.read_bytes()[:-1])
    with pytest.raises(
        SourceError, match=r"hello-1\.0-1\.noarch\.rpm: got \d+ bytes.*promises \d+"
    ):
        rebuild(site, tmp_path, tmp_path / "cache", sources_file=sources)


@pytest.mark.usefixtures("only_rpm")
def test_a_missing_repository_is_named(site, cache: Path, tmp_path: Path) -> None:
    sources = broken_sources(site, tmp_path)
    shutil.rmtree(tmp_path / "el9/repo/repodata")
    with pytest.raises(SourceError, match=r"el9-x86_64.*'base'"):
        rebuild(site, tmp_path, cache, sources_file=sources)


@pytest.mark.usefixtures("only_rpm")
def test_full_disk_is_seen_before_anything_is_fetched(
    site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: small)
    with pytest.raises(LandbridgeError, match=r"needs \d+ bytes, 10 bytes are free"):
        rebuild(site, tmp_path, tmp_path / "cache")
    assert not (tmp_path / "bundle").exists()


def test_every_ecosystem_is_part_of_a_build() -> None:
    names = {"rpm", "conda", "pypi", "cran", "images", "toolkit"}
    assert set(ECOSYSTEMS) == names
