"""R packages compiled at bundle time, and installed by R itself on a node without a compiler."""

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import BIN, Ended, LabNode, run
from tests.lab import nodes, paths, rpmrepo, upstream_cran
from tests.lab.platforms import platform

LAB = platform("el9")
TARGET = LAB.target
R = "4.2"
MOUNTED = f"file://{nodes.BUNDLE_MOUNT}/one/cran"
# A package with C code that needs another one with C code, to be compiled and to be loaded.
BRIDGE = {
    "NAMESPACE": "useDynLib(bridge, answer)\nimportFrom(base64enc, base64encode)\nexport(word)\n",
    "R/word.R": "word <- function() base64encode(as.raw(.Call(answer)))\n",
    "src/answer.c": "#include <Rinternals.h>\nSEXP answer(void) { return ScalarInteger(42); }\n",
}
WORD = "Kg=="  # base64 of the byte 42
HEADER = "libnosuch/nosuch.h"


@dataclass(frozen=True)
class Story:
    """A small stack, its mirror of R packages and a build cache of its own."""

    folder: Path

    @property
    def logs(self) -> Path:
        """Of what did not compile."""
        return self.folder / "cache/r-binaries/logs" / TARGET / R

    def bridge(self, version: str, **files: str) -> None:
        """Publish a version of the package, in place of the one before."""
        contrib = self.folder / "cran/src/contrib"
        for old in contrib.glob("bridge_*"):
            old.unlink()
        text = f"Package: bridge\nVersion: {version}\nImports: base64enc\nLicense: MIT\n"
        text += "Title: A bridge\nDescription: A bridge.\nNeedsCompilation: yes\n"
        tarball = contrib / f"bridge_{version}.tar.gz"
        with gzip.GzipFile(tarball, "wb", mtime=0) as raw, tarfile.open(None, "w", raw) as tar:
            for name, content in {"DESCRIPTION": text, **BRIDGE, **files}.items():
                member = tarfile.TarInfo(f"bridge/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
        others = re.split(r"\n\n", (upstream_cran.mirror() / "src/contrib/PACKAGES").read_text())
        kept = [entry for entry in others if entry.startswith("Package: base64enc\n")]
        md5 = hashlib.md5(tarball.read_bytes(), usedforsecurity=False).hexdigest()
        index = "\n\n".join([*kept, f"{text}MD5sum: {md5}"])
        (contrib / "PACKAGES").write_text(index + "\n")

    def lock(self, *words: str) -> None:
        """Lock it, all of it or what is named."""
        places = ["--sources", self.folder / "sources.yml", "--cache", self.folder / "cache"]
        must(run(BIN / "landbridge", "lock", self.folder / "small.yml", *places, *words))

    def build(self, output: str, umask: str = "022") -> Ended:
        """Build the bundle with R packages compiled."""
        places = ["--sources", self.folder / "sources.yml", "--cache", self.folder / "cache"]
        places += ["--output", self.folder / output]
        command = ["bundle", "build", self.folder / "small.yml", *places, "--r-binaries"]
        shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
        return run(*shell, BIN / "landbridge", *command)


def must(ended: Ended) -> Ended:
    assert ended.code == 0, ended.output
    return ended


def compiled(ended: Ended) -> set[str]:
    """Names of the packages that a build compiled."""
    return set(re.findall(r"^compile +[\d.]+ s +(\S+) ", must(ended).output, re.MULTILINE))


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    folder = paths.cache() / "r-binaries-story"
    shutil.rmtree(folder, ignore_errors=True)
    contrib = folder / "cran/src/contrib"
    contrib.mkdir(parents=True)
    (folder / "cache").mkdir()
    downloads = paths.cache() / "downloads/sha256"
    if downloads.is_dir():  # what others have fetched; nothing that they have compiled
        subprocess.run(["cp", "-al", downloads, folder / "cache"], check=True)
    for file in (upstream_cran.mirror() / "src/contrib").glob("base64enc_*"):
        shutil.copy(file, contrib)
    repository = {
        "id": "lab",
        "baseurl": rpmrepo.repository(LAB).as_uri(),
        "gpgkey": rpmrepo.key_file(LAB).as_uri(),
    }
    sources = {"rpm": {TARGET: [repository]}, "cran": {"url": (folder / "cran").as_uri()}}
    stack = {
        "name": "small",
        "targets": [TARGET],
        "rpm": {"packages": ["R-core", "R-core-devel", "python3"]},
        "r": {"packages": ["bridge"]},
    }
    (folder / "sources.yml").write_text(yaml.dump(sources))
    (folder / "small.yml").write_text(yaml.dump(stack))
    made = Story(folder)
    made.bridge("1.0")
    made.lock()
    assert compiled(made.build("one")) == {"base64enc", "bridge"}
    yield made
    shutil.rmtree(folder)


def test_the_bundle_is_whole_and_says_what_it_has(story: Story) -> None:
    must(run(BIN / "landbridge", "bundle", "verify", story.folder / "one", "--allow-unsigned"))
    content = json.loads((story.folder / "one/content.json").read_text())["r"]
    assert content["binaries"] == {TARGET: {R: f"cran/binaries/{TARGET}/{R}"}}
    assert {p["name"]: p["requires"] for p in content["packages"]} == {
        "base64enc": [],
        "bridge": ["base64enc"],
    }
    components = json.loads((story.folder / "one/sbom.cdx.json").read_text())["components"]
    purls = [c["purl"] for c in components if "/binaries/" in c["bom-ref"]]
    assert purls == ["pkg:cran/base64enc@0.1-3", "pkg:cran/bridge@1.0"]


def test_what_is_compiled_anew_is_the_same_to_the_byte(story: Story) -> None:
    shutil.rmtree(story.folder / "cache/r-packages")
    shutil.rmtree(story.folder / "cache/r-binaries")
    assert compiled(story.build("two", umask="077")) == {"base64enc", "bridge"}
    one, two = (story.folder / name / "manifest.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_nothing_is_compiled_twice(story: Story) -> None:
    assert compiled(story.build("three")) == set()


def test_r_on_a_node_without_a_compiler_installs_them(
    story: Story, boot: Callable[..., LabNode]
) -> None:
    node = boot("lb-r-binaries", "el9", story.folder)
    repository = f"file://{nodes.BUNDLE_MOUNT}/one/rpm/{TARGET}"
    key = f"file://{nodes.BUNDLE_MOUNT}/one/rpm/keys/RPM-GPG-KEY-lab"
    must(
        node.run(
            f"dnf -y --disablerepo='*' --repofrompath=bundle,{repository} "
            f"--setopt=bundle.gpgcheck=1 --setopt=bundle.gpgkey={key} install R-core"
        )
    )
    assert node.run("command -v gcc cc make g++").output.strip() in ("", "/usr/bin/make")
    install = "install.packages('bridge', lib='/opt/lib', repos={repos})"
    script = 'mkdir -p /opt/lib; Rscript --vanilla -e "{code}" 2>&1'
    from_source = install.format(repos=f"'{MOUNTED}'")
    assert "compilation failed" in node.run(script.format(code=from_source)).output
    both = f"c('{MOUNTED}/binaries/{TARGET}/{R}', '{MOUNTED}')"
    code = f"{install.format(repos=both)}; .libPaths('/opt/lib'); cat(bridge::word())"
    ended = must(node.run(script.format(code=code)))
    assert ended.output.count("installing *binary* package") == 2, ended.output
    assert ended.output.endswith(WORD), ended.output
    assert nodes.packets(node.name) == 0


def test_a_package_that_fails_is_named_and_the_next_build_goes_on(story: Story) -> None:
    broken = f"#include <{HEADER}>\n"
    story.bridge("2.0", **{"src/answer.c": broken})
    story.lock("--update", "bridge")
    ended = story.build("one")
    assert ended.code == 1, ended.output
    assert f"not compiled for {TARGET}, R 4.2.2" in ended.output
    assert f"fatal error: {HEADER}: No such file or directory" in ended.output
    log = story.logs / "bridge_2.0.log"
    assert str(log) in ended.output
    assert HEADER in log.read_text()
    old = json.loads((story.folder / "one/content.json").read_text())["r"]["packages"]
    assert "1.0" in {package["version"] for package in old}, "the old bundle stays"
    story.bridge("2.1")
    story.lock("--update", "bridge")
    assert compiled(story.build("one")) == {"bridge"}
