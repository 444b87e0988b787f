from __future__ import annotations

import gzip
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from landbridge.access import Access
from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import rpm
from landbridge.errors import InputError, SourceError
from landbridge.files import link
from landbridge.lock import Artifact, Kept, Lock, Part, merge
from landbridge.stack import Access as AccessEntry
from landbridge.stack import Stack
from tests.unit.ecosystems import rpm_upstreams as upstream
from tests.unit.ecosystems.rpm_upstreams import PYTHON, Rpm
from tests.unit.small_upstreams import tool

TARGET = "el10-x86_64"
FOLDER = f"rpm/{TARGET}"


class Site(NamedTuple):
    """One repository, its key, and a cache."""

    folder: Path
    cache: Cache

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def offer(self, *rpms: Rpm) -> Site:
        """The repository holds these and a Python; there is some key."""
        shutil.rmtree(self.repo, ignore_errors=True)
        upstream.repository(self.repo, rpms)
        (self.folder / "key").write_text("a key\n")
        return self

    def stack(self, *wanted: str, url: str = "", weak: bool = False, check: bool = False) -> Stack:
        source = {
            "id": "base",
            "baseurl": url or self.repo.as_uri(),
            "gpgkey": (self.folder / "key").as_uri(),
            "repo_gpgcheck": check,
        }
        return Stack.model_validate(
            {
                "name": "s",
                "targets": [TARGET],
                "rpm": {"packages": list(wanted), "weak_dependencies": weak},
                "sources": {"rpm": {TARGET: [source]}},
            }
        )

    def resolve(self, *wanted: str, kept: Kept | None = None) -> Lock:
        return merge("s", [TARGET], [rpm.resolve(self.stack(*wanted), self.cache, kept)])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, Cache(tmp_path / "cache", pauses=()))


def versions(lock: Lock | Part) -> dict[str, str]:
    """Version and release of everything but Python."""
    found = lock.of("rpm") if isinstance(lock, Lock) else lock.artifacts
    return {
        a.name: f"{a.version}-{a.build}".removeprefix("0:").removesuffix(".noarch")
        for a in found
        if a.ecosystem == "rpm" and a.name != PYTHON.source
    }


def locked(name: str, version: str) -> Artifact:
    path = f"rpm/el9-x86_64/Packages/{name}.rpm"
    common = {"url": "file:///x", "sha256": "0" * 64, "size": 1, "targets": ["el9-x86_64"]}
    return Artifact(ecosystem="rpm", name=name, version=version, path=path, **common)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ({"python3": "0:3.9.18", "python3.11": "0:3.11.9", "python3.12": "0:3.12.5"}, "python3.12"),
        ({"python3": "0:3.9.18", "python3.11": "0:3.11.9"}, "python3.11"),
        ({"python3": "0:3.12.11", "python3.12": "0:3.12.5"}, "python3"),
        ({}, "python3"),
    ],
)
def test_the_platforms_python_is_taken_when_it_is_new_enough(
    offered: dict[str, str], chosen: str
) -> None:
    part = Part([locked(name, version) for name, version in offered.items()])
    assert rpm.interpreter(merge("s", ["el9-x86_64"], [part]), "el9-x86_64") == chosen


def test_an_rpm_is_locked_with_its_licence_its_day_and_who_needs_it(site: Site) -> None:
    lock = site.offer(Rpm("app", "1.0", ("lib",)), Rpm("lib", "2.0")).resolve("app")
    library = next(a for a in lock.of("rpm") if a.name == "lib")
    assert (library.license, library.released) == ("MIT", "2024-05-06")
    assert library.required_by == ["app"]
    assert (library.version, library.build) == ("0:2.0", "1.noarch")
    assert site.resolve("app") == lock


def test_what_others_need_is_locked_with_them_as_its_reason(site: Site) -> None:
    ng = Rpm("zlib-ng-compat-devel", "2.1", tags=("Provides: zlib-devel",))
    site.offer(Rpm("app", "1.0", ("lib",)), Rpm("lib", "2.0"), Rpm("libxml2", "2.9"), ng)
    needed = {TARGET: {"libxml2": ["cran:xml2"], "lib": ["cran:shop"], "zlib-devel": ["cran:shop"]}}
    part = rpm.resolve(site.stack("app"), site.cache, None, needed)
    reasons = {a.name: a.required_by for a in part.artifacts if a.ecosystem == "rpm"}
    assert reasons["libxml2"] == ["cran:xml2"]
    assert reasons["lib"] == ["app", "cran:shop"]
    assert reasons["zlib-ng-compat-devel"] == ["cran:shop"]
    assert reasons["app"] == []
    alone = rpm.resolve(site.stack(), site.cache, None, needed)
    assert set(versions(alone)) == {"libxml2", "lib", ng.source}


def test_what_others_need_and_nobody_has_is_named_with_them(site: Site) -> None:
    site.offer(Rpm("app", "1.0"))
    needed = {TARGET: {"libxml2-devel": ["cran:XML", "cran:xml2"]}}
    with pytest.raises(InputError) as caught:
        rpm.resolve(site.stack("app", "nosuch"), site.cache, None, needed)
    assert caught.value.message == (
        f"rpm, {TARGET}: no such package in base: "
        "libxml2-devel (needed by cran:XML, cran:xml2), nosuch"
    )
    assert "r.system_requirements" in caught.value.mend
    assert "repository" in caught.value.mend


def test_two_targets_are_resolved_each_from_its_own_repositories(site: Site) -> None:
    site.offer(Rpm("app", "1.0"))
    stack = site.stack("app")
    old = upstream.repository(site.folder / "old", [Rpm("app", "0.9")])
    source = stack.sources.rpm[TARGET][0]
    sources = {
        TARGET: [source],
        "el9-x86_64": [source.model_copy(update={"baseurl": old.as_uri()})],
    }
    both = stack.model_copy(
        update={
            "targets": ["el9-x86_64", TARGET],
            "sources": stack.sources.model_copy(update={"rpm": sources}),
        }
    )
    part = rpm.resolve(both, site.cache)
    assert {(a.targets[0], a.version) for a in part.artifacts if a.name == "app"} == {
        ("el9-x86_64", "0:0.9"),
        (TARGET, "0:1.0"),
    }


@pytest.mark.parametrize("weak", [True, False])
def test_weak_dependencies_are_switchable(site: Site, weak: bool) -> None:
    site.offer(Rpm("app", "1.0", tags=("Recommends: nice",)), Rpm("nice", "1.0"))
    part = rpm.resolve(site.stack("app", weak=weak), site.cache)
    assert versions(part) == {"app": "1.0-1", **({"nice": "1.0-1"} if weak else {})}


def test_an_unknown_name_and_a_contradiction_are_told(site: Site) -> None:
    site.offer(Rpm("app", "1.0", ("lib >= 3",)), Rpm("lib", "2.0"))
    with pytest.raises(InputError, match="no such package in base: nosuch"):
        site.resolve("app", "nosuch")
    with pytest.raises(SourceError, match="nothing provides lib >= 3"):
        site.resolve("app")


# What there is at first and what comes later, for the updates below.
OLD = [
    Rpm("a", "1", ("b",)),
    Rpm(
        "b",
        "1",
        others=(
            (
                "b-tools",
                "b = 1",
            ),
        ),
    ),
    Rpm("c", "1"),
    Rpm("user-of-a", "1", ("a < 2",)),
    Rpm("mail-old", "1", tags=("Provides: mail",)),
]
NEW = [
    Rpm(
        "a",
        "2",
        (
            "b >= 2",
            "extra",
        ),
    ),
    Rpm(
        "b",
        "2",
        others=(
            (
                "b-tools",
                "b = 2",
            ),
        ),
    ),
    Rpm("c", "2"),
    Rpm("user-of-a", "2", ("a",)),
    Rpm("a-mail", "1", tags=("Provides: mail",)),
    Rpm("extra", "1"),
]


@pytest.mark.parametrize(
    ("wanted", "update", "changes"),
    [
        (["a", "c"], [], {}),
        (["a", "c"], ["c"], {"c": "2-1"}),
        # The new a needs the new b and something that was not there; c has no part in it.
        (["a", "c"], ["a"], {"a": "2-1", "b": "2-1", "extra": "1-1"}),
        # What comes from one source RPM requires each other.
        (["b-tools", "c"], ["b"], {"b": "2-1", "b-tools": "2-1"}),
        # What refuses the new a has to follow.
        (["user-of-a", "c"], ["a"], {"a": "2-1", "b": "2-1", "extra": "1-1", "user-of-a": "2-1"}),
        # A newcomer does not take the place of what is locked.
        (["mail", "c"], [], {}),
        (["mail", "c"], ["c"], {"c": "2-1"}),
        # Names of other ecosystems are not for dnf.
        (["a", "c"], ["numpy"], {}),
    ],
)
def test_an_update_changes_only_what_it_must(
    site: Site, wanted: list[str], update: list[str], changes: dict[str, str]
) -> None:
    before = site.offer(*OLD).resolve(*wanted)
    site.offer(*OLD, *NEW)
    after = site.resolve(*wanted, kept=Kept(before, frozenset(update)))
    assert versions(after) == {**versions(before), **changes}


def test_a_name_new_in_the_stack_leaves_the_others_alone(site: Site) -> None:
    before = site.offer(*OLD).resolve("a", "c")
    site.offer(*OLD, *NEW)
    after = site.resolve("a", "c", "extra", kept=Kept(before, frozenset()))
    assert versions(after) == {**versions(before), "extra": "1-1"}


def test_a_locked_package_that_is_gone_is_replaced(site: Site) -> None:
    before = site.offer(*OLD).resolve("a", "c")
    site.offer(*OLD[:2], *NEW)
    after = site.resolve("a", "c", kept=Kept(before, frozenset()))
    assert versions(after) == {**versions(before), "c": "2-1"}


def test_a_name_that_is_wanted_no_more_is_dropped(site: Site) -> None:
    before = site.offer(*OLD).resolve("a", "c")
    site.offer(*OLD, *NEW)
    assert versions(site.resolve("c", kept=Kept(before, frozenset()))) == {"c": "1-1"}


def test_an_update_that_cannot_be_had_stays_at_what_can(site: Site) -> None:
    before = site.offer(*OLD).resolve("a", "c")
    site.offer(*OLD, *NEW[1:], Rpm("b", "3", ("nowhere",)))
    after = site.resolve("a", "c", kept=Kept(before, frozenset({"b"})))
    assert versions(after) == {**versions(before), "b": "2-1"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> upstream.Authority:
    return upstream.Authority(tmp_path_factory.mktemp("ca") / "ca")


def reached(site: Site, url: str, **entry: str) -> dict[str, str]:
    """What is resolved from a repository that is reached as this entry of `access:` says."""
    access = Access([AccessEntry(url=url, **entry)])
    cache = Cache(site.folder / "cache", access=access, pauses=())
    return versions(rpm.resolve(site.stack("app", url=url), cache))


def test_a_repository_is_reached_with_certificates_and_credentials(
    site: Site, authority: upstream.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.offer(Rpm("app", "1.0"))
    certificate, key = authority.issue("client")
    netrc = site.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    ca = {"ca": str(authority.certificate)}
    shown = {**ca, "client_cert": str(certificate), "client_key": str(key)}
    with upstream.served(site.repo, "someone:s3cret", authority.server()) as url:
        assert reached(site, url, **shown) == {"app": "1.0-1"}
        shutil.rmtree(site.folder / "cache")
        with pytest.raises(SourceError, match=r"Curl error \(\d+\).* for https://127"):
            reached(site, url, **ca)
        with pytest.raises(SourceError, match=r"(?i)certificate"):
            reached(site, url)
        netrc.write_text("machine 127.0.0.1 login someone password wrong-one\n")
        with pytest.raises(SourceError, match="401") as refused:
            reached(site, url, **shown)
    assert "wrong-one" not in str(refused.value)
    kept = [f for f in (site.folder / "cache").rglob("*") if f.is_file()]
    assert not [f for f in kept if b"s3cret" in f.read_bytes()], "a password was written down"


def test_a_proxy_is_used_or_forbidden_as_the_sources_say(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.offer(Rpm("app", "1.0"))
    nowhere = "http://127.0.0.1:9"
    with upstream.served(site.repo) as url:
        # The server answers proxy requests by their path alone.
        assert reached(site, "http://mirror.invalid", proxy=url) == {"app": "1.0-1"}
        with pytest.raises(SourceError, match=r"127\.0\.0\.1 port 9"):
            reached(site, url, proxy=nowhere)
        monkeypatch.setenv("http_proxy", nowhere)
        with pytest.raises(SourceError, match=r"127\.0\.0\.1 port 9"):
            reached(site, url)
        assert reached(site, url, proxy="direct") == {"app": "1.0-1"}
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        shutil.rmtree(site.folder / "cache")
        assert reached(site, url) == {"app": "1.0-1"}


@pytest.fixture(scope="module")
def signer() -> Iterator[upstream.Signer]:
    with upstream.signer() as one:
        yield one


def test_signed_metadata_is_demanded_where_the_sources_say(
    site: Site, signer: upstream.Signer
) -> None:
    site.offer(Rpm("app", "1.0"))
    signer.public(site.folder / "key")
    checked = site.stack("app", check=True)
    # Unchecked metadata in the cache is no way round.
    assert versions(rpm.resolve(site.stack("app"), site.cache)) == {"app": "1.0-1"}
    with pytest.raises(SourceError, match=r"(?i)gpg"):
        rpm.resolve(checked, site.cache)
    signer.sign_repomd(site.repo)
    assert versions(rpm.resolve(checked, site.cache)) == {"app": "1.0-1"}
    repomd = site.repo / "repodata/repomd.xml"
    repomd.write_text(repomd.read_text() + "\n")
    with pytest.raises(SourceError, match=r"(?i)gpg|signature"):
        rpm.resolve(checked, site.cache)
    signer.sign_repomd(site.repo)
    with upstream.signer() as other:
        other.public(site.folder / "key")
        with pytest.raises(SourceError, match=r"(?i)gpg|signature"):
            rpm.resolve(checked, site.cache)
        other.sign_repomd(site.repo)
        assert versions(rpm.resolve(checked, site.cache)) == {"app": "1.0-1"}


def stream(module: str, name: str, *artifacts: str, requires: str = "") -> str:
    """A stream's document, as libmodulemd writes it."""
    needs = f"        {requires}\n" if requires else ""
    rpms = "".join(f"    - {artifact}\n" for artifact in artifacts)
    return (
        "---\ndocument: modulemd\nversion: 2\ndata:\n"
        f"  name: {module}\n  stream: {name}\n  version: 1\n  context: abcdef12\n"
        "  arch: x86_64\n  summary: A module\n  description: >-\n    A module.\n"
        "  license:\n    module:\n    - MIT\n"
        "  dependencies:\n  - requires:\n"
        f"        platform: [el10]\n{needs}"
        f"  artifacts:\n    rpms:\n{rpms}...\n"
    )


def defaults(module: str, name: str) -> str:
    return (
        "---\ndocument: modulemd-defaults\nversion: 1\n"
        f"data:\n  module: {module}\n  stream: {name}\n...\n"
    )


MODULES = "".join(
    [
        stream("web", "1.10", "web-0:1.0-1.noarch", requires="runtime: []"),
        stream("web", "1.1", "web-0:2.0-1.noarch", requires="runtime: []"),
        stream("runtime", "stable", "runtime-0:1-1.noarch"),
        stream("other", "x", "other-0:1-1.noarch"),
        defaults("web", "1.10"),
        defaults("runtime", "stable"),
        defaults("other", "x"),
    ]
)

ADVISORIES = """\
<?xml version="1.0" encoding="UTF-8"?>
<updates><update from="x" status="final" type="security" version="2"><id>T-2024:2</id>
<title>Two &amp; more</title><severity>Important</severity><issued date="2024-05-06 07:08:09"/>
<description>First line.
  Second line.</description><references><reference href="https://x.invalid/CVE-1" id="CVE-1"
 type="cve" title="CVE-1"/></references><pkglist><collection short="c"><name>c</name>
<package name="app" version="1.0" release="1" epoch="0" arch="noarch" src="app-1.0-1.src.rpm">
<filename>app-1.0-1.noarch.rpm</filename></package>
<package name="app-doc" version="1.0" release="1" epoch="0" arch="noarch" src="app-1.0-1.src.rpm">
<filename>app-doc-1.0-1.noarch.rpm</filename></package></collection></pkglist></update>
<update from="x" status="final" type="bugfix" version="1"><id>T-2024:1</id><title>One</title>
<pkglist><collection short="c"><name>c</name>
<package name="app" version="0.9" release="1" arch="noarch" src="app-0.9-1.src.rpm">
<filename>app-0.9-1.noarch.rpm</filename></package></collection></pkglist></update>
</updates>
"""


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_advisories_are_cut_down_to_the_locked_packages(site: Site, compression: str) -> None:
    site.offer(Rpm("app", "1.0", others=(("app-doc",),)))
    upstream.add_metadata(site.repo, "updateinfo", ADVISORIES, compression)
    lock = site.resolve("app")
    text = lock.metadata[f"{FOLDER}/updateinfo.xml"]
    assert re.findall(r"<id>(.*)</id>", text) == ["T-2024:2"]
    assert re.findall(r'<package name="(.*?)"', text) == ["app"]
    assert "First line.\n  Second line." in text
    assert site.resolve("app").metadata == lock.metadata


def test_no_metadata_is_carried_where_none_concerns_the_locked_packages(site: Site) -> None:
    site.offer(Rpm("plain", "1.0"))
    upstream.add_metadata(site.repo, "updateinfo", ADVISORIES)
    upstream.add_metadata(site.repo, "modules", MODULES)
    assert site.resolve("plain").metadata == {}


def test_default_streams_count_and_their_modules_are_carried(site: Site) -> None:
    site.offer(Rpm("web", "1.0"), Rpm("web", "2.0"), Rpm("runtime", "1"), Rpm("other", "1"))
    upstream.add_metadata(site.repo, "modules", MODULES)
    lock = site.resolve("web")
    assert versions(lock) == {"web": "1.0-1"}, "2.0 is of a stream that is not the default"
    documents = list(yaml.load_all(lock.metadata[f"{FOLDER}/modules.yaml"], yaml.BaseLoader))
    found = {(d["document"], d["data"].get("name") or d["data"]["module"]) for d in documents}
    assert found == {
        ("modulemd", "web"),
        ("modulemd", "runtime"),
        ("modulemd-defaults", "web"),
        ("modulemd-defaults", "runtime"),
    }
    assert [d["data"]["stream"] for d in documents if d["data"].get("name") == "web"] == ["1.10"]


def test_broken_metadata_is_told(site: Site) -> None:
    site.offer(Rpm("app", "1.0"))
    upstream.add_metadata(site.repo, "updateinfo", ADVISORIES.replace("</updates>", ""))
    with pytest.raises(SourceError, match=r"rpm, el10-x86_64: .*updateinfo"):
        site.resolve("app")


@pytest.fixture
def signed(site: Site, signer: upstream.Signer) -> Site:
    """A site whose packages, of a module with an advisory, are signed."""
    site.offer(Rpm("app", "1.0", ("web",)), Rpm("web", "1.0"))
    signer.public(site.folder / "key")
    signer.sign_rpms(site.repo)
    upstream.add_metadata(site.repo, "updateinfo", ADVISORIES)
    upstream.add_metadata(site.repo, "modules", MODULES)
    return site


def assemble(site: Site, lock: Lock, name: str = "bundle") -> Path:
    """A folder with the lock's files, linked from the cache as a build does it."""
    root = site.folder / name
    site.cache.fetch(lock.artifacts)
    for artifact in lock.artifacts:
        link(site.cache.path(artifact.sha256), root / artifact.path)
    return root


def index(site: Site, lock: Lock, name: str = "bundle") -> Path:
    root = assemble(site, lock, name)
    rpm.index(root, lock, site.cache)
    return root


def dnf(site: Site, root: Path, *words: str) -> str:
    """Ask dnf about the bundle's repository as a node's would be."""
    apart = {"reposdir": "none", "cachedir": "dnf-cache", "persistdir": "dnf-state"}
    options = [f"--setopt={key}={site.folder / name}" for key, name in apart.items()]
    options += [f"--installroot={site.folder / 'root'}", "--releasever=10", "--refresh", "--quiet"]
    options += ["--setopt=module_platform_id=platform:el10", f"--config={site.folder / 'dnf.conf'}"]
    (site.folder / "dnf.conf").touch()
    url = (root / FOLDER).as_uri()
    return tool("dnf", *options, f"--repofrompath=bundle,{url}", "--nogpgcheck", *words)


def test_dnf_reads_the_advisories_and_the_modules_of_the_bundle(signed: Site) -> None:
    root = index(signed, signed.resolve("app"))
    query = ["repoquery", "--qf", "%{name}-%{version}"]
    assert dnf(signed, root, *query, "--advisory=T-2024:2").split() == ["app-1.0"]
    assert dnf(signed, root, *query, "--sec-severity=Important").split() == ["app-1.0"]
    modules = dnf(signed, root, "module", "list")
    assert re.search(r"^web +1\.10 \[d\]", modules, re.M)
    assert re.search(r"^runtime +stable \[d\]", modules, re.M)
    assert "other" not in modules
    found = dnf(signed, root, *query).split()
    assert sorted(found) == ["app-1.0", "python3-3.12.11", "web-1.0"]


def repodata(root: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (root / FOLDER / "repodata").iterdir()}


def test_the_same_lock_gives_the_same_metadata_at_any_time(signed: Site) -> None:
    lock = signed.resolve("app")
    one = repodata(index(signed, lock, "one"))
    shutil.rmtree(signed.cache.root / "repodata")
    # What a tool would write of the clock is in whole seconds.
    time.sleep(1.1)
    two = repodata(index(signed, lock, "two"))
    assert one == two
    assert len(one) == 6, "repomd.xml, primary, filelists, other, updateinfo, modules"
    assert set(re.findall(rb"<timestamp>(\d+)<", one["repomd.xml"])) == {b"315532800"}


def test_metadata_made_before_is_linked_and_never_trusted_blindly(signed: Site) -> None:
    lock = signed.resolve("app")
    one = index(signed, lock, "one")
    before = repodata(one)
    two = index(signed, lock, "two")
    name = FOLDER + "/repodata/repomd.xml"
    assert (two / name).samefile(one / name)
    with (two / name).open("a") as file:
        file.write("<!-- written to by someone -->\n")
    assert repodata(index(signed, lock, "three")) == before


def test_metadata_follows_the_files_not_their_names(signed: Site, signer: upstream.Signer) -> None:
    lock = signed.resolve("app")
    one = repodata(index(signed, lock, "one"))
    # The same name, size and time; signed anew.
    signer.sign_rpms(signed.repo)
    again = signed.resolve("app")
    assert {a.file for a in again.of("rpm")} == {a.file for a in lock.of("rpm")}
    root = index(signed, again, "two")
    assert repodata(root) != one
    primary = next(file for file in repodata(root) if "primary" in file)
    text = gzip.decompress(repodata(root)[primary]).decode()
    sums = re.findall(r'<checksum type="sha256" pkgid="YES">(\w+)<', text)
    assert sorted(sums) == sorted(a.sha256 for a in again.of("rpm"))


def test_a_good_signature_is_remembered_for_its_keys_alone(
    signed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = signed.resolve("app")
    index(signed, lock, "one")
    tools = signed.folder / "tools"
    tools.mkdir()
    asked = signed.folder / "asked"
    (tools / "rpmkeys").write_text(f'#!/bin/sh\necho "$@" >> {asked}\nexec /usr/bin/rpmkeys "$@"\n')
    (tools / "rpmkeys").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    index(signed, lock, "two")
    assert not asked.exists(), "every RPM was found good before"
    with upstream.signer() as other:
        other.public(signed.folder / "key")
        with pytest.raises(SourceError, match=r"app-1\.0-1\.noarch\.rpm"):
            index(signed, signed.resolve("app"), "three")


def test_an_unsigned_rpm_is_refused_each_time(site: Site, signer: upstream.Signer) -> None:
    site.offer(Rpm("app", "1.0"))
    signer.public(site.folder / "key")
    lock = site.resolve("app")
    for name in ("one", "two"):
        with pytest.raises(SourceError, match=r"app-1\.0-1\.noarch\.rpm"):
            index(site, lock, name)
