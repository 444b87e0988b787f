"""A depot serves a node that has no bundle: real clients fetch, and refuse what was tampered with.

One story: each test goes on where the one before ended. Clients that the node lacks are the
machine's own, in the nodes' network.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from landbridge import depot as depots
from landbridge.bundle import manifest
from tests.e2e.conftest import BIN, Ended, LabNode, linked, must, run
from tests.e2e.test_clients import SOLVE_AND_INSTALL
from tests.lab import bundle as lab_bundle
from tests.lab import docker_ce, holder, inventory, nodes, paths, podman
from tests.lab.authority import authority

CA, PEM = "/etc/pki/lab-ca.pem", "/etc/pki/lab.pem"
PORT = 8443
OWN = "/var/lib/landbridge/depot"
USER, PASSWORD = "alice", "its:own/word"
IMAGE = "localhost/tools/busybox"
SOLVE = SOLVE_AND_INSTALL.replace('["python", "numpy"]', '["python"]')


@dataclass(frozen=True)
class Site:
    """A depot and a node that reads it."""

    depot: LabNode
    node: LabNode
    folder: Path
    ca: Path
    host: str
    release: str

    @property
    def root(self) -> Path:
        """The release on the depot's disk."""
        return self.folder / "releases" / self.release

    def url(self, path: str) -> str:
        """Where the release's path is, by address: the machine knows no node's name."""
        return f"https://{self.host}:{PORT}/landbridge/releases/{self.release}/{path}"

    def apply(self, host: str, tags: str, *options: str) -> Ended:
        """Converge one of them."""
        file = self.node.folder / "site.yml"
        words = ["apply", "--inventory", file, "--limit", host, "--tags", tags]
        return run(BIN / "landbridge", *words, *options)

    def here(self, *command: str | Path, **environment: str) -> Ended:
        """Run a program of the machine in the nodes' network."""
        clean = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "LC_ALL": "C.UTF-8"}
        trust = dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE"), str(self.ca))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
        done = subprocess.run(
            [*holder.enter("-n"), *map(str, command)],
            env={**inherited, **clean, **trust, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def folder(bundle: Path) -> Iterator[Path]:
    """A depot with the lab's bundle as its current release."""
    made = paths.cache() / "depot-node"
    shutil.rmtree(made, ignore_errors=True)
    (made / "depot" / "releases").mkdir(parents=True)
    release = manifest.read_manifest(bundle)[0]
    linked(bundle, made / "depot" / "releases" / release)
    depots.switch(made / "depot", release)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def site(
    boot: Callable[..., LabNode], folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """Both, with certificates of one authority."""
    depot, node = boot("depot", "el10", folder / "depot"), boot("reader", "el9", None)
    host = nodes.find("depot").host
    trust = authority(tmp_path_factory.mktemp("ca"))
    certificates = {
        "depot": trust.issue("DNS:depot", f"IP:{host}"),
        "reader": trust.issue("DNS:reader"),
    }
    for name, certificate in certificates.items():
        podman.run("exec", name, "mkdir", "-p", "/etc/pki")
        podman.run("cp", trust.certificate, f"{name}:{CA}")
        podman.run("cp", certificate, f"{name}:{PEM}")
    file = inventory.write(node.folder / "site.yml", ["depot", "reader"])
    content = yaml.safe_load(file.read_text())
    everything = content["all"]
    del everything["vars"]["landbridge_depot"]
    everything["hosts"]["depot"] |= {
        "landbridge_depot": f"{nodes.BUNDLE_MOUNT}/current",
        "depot_directory": nodes.BUNDLE_MOUNT,
        "depot_port": PORT,
        "depot_tls_certificate": PEM,
        "depot_tls_key": PEM,
        "depot_client_ca": CA,
    }
    everything["hosts"]["reader"] |= {
        "landbridge_depot_url": f"https://depot:{PORT}/landbridge",
        "landbridge_depot_ca": CA,
        "landbridge_depot_client_certificate": PEM,
        "landbridge_depot_client_key": PEM,
    }
    everything["children"] = {"depot": {"hosts": {"depot": None}}}
    file.write_text(yaml.safe_dump(content))
    release = depots.current(folder / "depot") or ""
    return Site(depot, node, folder / "depot", trust.certificate, host, release)


@pytest.mark.usefixtures("mitogen")
def test_a_node_without_a_bundle_converges_from_the_depot(site: Site) -> None:
    depots_tags, nodes_tags = "preflight,repositories,depot", "preflight,repositories,podman"
    must(site.apply("depot", depots_tags, "--check"))
    assert site.depot.run("ls /etc/landbridge").code != 0
    must(site.apply("depot", depots_tags))
    must(site.apply("reader", nodes_tags, "--check"))
    assert site.node.run("ls /etc/landbridge").code != 0
    down = "/etc/dnf/plugins/subscription-manager.conf"
    must(site.node.run(f"mkdir -p /etc/dnf/plugins; printf '[main]\\nenabled=1\\n' >{down}"))
    must(site.apply("reader", nodes_tags))
    assert must(site.node.run(f"readlink {OWN}/current")).strip() == f"releases/{site.release}"
    assert "enabled=0" in must(site.node.run(f"cat {down}"))
    here = must(site.node.run(f"cd {OWN}/current; find rpm conda pypi images -type f")).split()
    assert [path for path in here if path.endswith((".rpm", ".conda", ".whl"))] == []
    # podman's role had wanted the image.
    assert IMAGE in must(site.node.run("podman image ls --format '{{.Repository}}'"))


@pytest.mark.usefixtures("mitogen")
def test_another_run_changes_nothing(site: Site) -> None:
    said = must(site.apply("depot,reader", "preflight,repositories,depot", "--json"))
    hosts = json.JSONDecoder().raw_decode(said[said.index("{\n") :])[0]["hosts"]
    assert {host: found["changed"] for host, found in hosts.items()} == {"depot": 0, "reader": 0}


def test_host_checks_hold_both_to_their_promises(site: Site) -> None:
    held_to_their_promises(site)


def held_to_their_promises(site: Site) -> None:
    """What `landbridge verify` says of both nodes."""
    words = ["--inventory", site.node.folder / "site.yml", "--json"]
    said = run(BIN / "landbridge", "verify", *words, "--only", "repositories,depot").output
    checks = json.JSONDecoder().raw_decode(said[said.index("{\n") :])[0]["checks"]
    assert [check for check in checks if check["outcome"] != "passed"] == []
    areas = {(check["host"], check["area"]) for check in checks}
    assert areas >= {("depot", "repositories"), ("depot", "depot"), ("reader", "repositories")}


# --- clients ---------------------------------------------------------------------------------


def digest(site: Site) -> str:
    """Of the image's manifest."""
    (image,) = json.loads((site.root / "content.json").read_text())["images"]
    return str(image["digest"])


def image_manifest(site: Site) -> Path:
    """Where the depot has it."""
    return site.root / "images/blobs" / digest(site).replace(":", "/")


def with_dnf(site: Site, _folder: Path) -> Ended:
    fetch = "dnf -y reinstall --downloadonly --downloaddir=/t crun"
    return site.node.run(f"rm -rf /t; {fetch} && test -f /t/crun-*.rpm")


def with_pip(site: Site, folder: Path) -> Ended:
    words = ["--no-deps", "--no-cache-dir", "--index-url", site.url("pypi/simple/")]
    pip = [sys.executable, "-m", "pip", "install", "--target", folder / "pip"]
    return site.here(*pip, *words, "--cert", site.ca, "tabulate")


def with_uv(site: Site, folder: Path) -> Ended:
    words = ["--no-deps", "--no-cache", "--native-tls", "--index-url", site.url("pypi/simple/")]
    return site.here(BIN / "uv", "pip", "install", "--target", folder / "uv", *words, "tabulate")


def with_rattler(site: Site, folder: Path) -> Ended:
    command = [sys.executable, "-c", SOLVE, site.url("conda"), folder / "env"]
    # What an earlier run read of this depot is not asked for again.
    return site.here(*command, XDG_CACHE_HOME=str(folder / "cache"))


def with_podman(site: Site, _folder: Path) -> Ended:
    drop = f"podman image rm -af >/dev/null; podman pull -q depot:{PORT}/{IMAGE}@{digest(site)}"
    return site.node.run(drop)


def with_skopeo(site: Site, _folder: Path) -> Ended:
    source = f"docker://depot:{PORT}/{IMAGE}:1"
    return site.node.run(f"rm -rf /t; skopeo copy -q {source} dir:/t && test -f /t/manifest.json")


def with_docker(site: Site, _folder: Path) -> Ended:
    pull = f"docker pull -q depot:{PORT}/{IMAGE}@{digest(site)}"
    return site.depot.run(f"docker image ls -q | xargs -r docker image rm -f >/dev/null; {pull}")


# Each with what it says of a file that is not what its index or its name promises.
REASONS: dict[Callable[[Site, Path], Ended], str] = {
    with_dnf: "checksum doesn't match",
    with_pip: "DO NOT MATCH THE HASHES",
    with_uv: "Hash mismatch",
    with_rattler: "hash mismatch",
    with_podman: "config.json digest",
    with_skopeo: "Digest did not match",
    with_docker: "verification failed for digest",
}


@pytest.fixture(scope="module")
def docker(site: Site) -> None:
    """Docker itself, for who has not replaced it yet; on the depot, which has no Podman."""
    docker_ce.install("depot")
    trusted = f"/etc/docker/certs.d/depot:{PORT}"
    must(site.depot.run(f"mkdir -p {trusted}; cp {CA} {trusted}/ca.crt"))
    must(site.depot.run("systemctl start docker.service"))


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize("client", REASONS)
def test_a_real_client_fetches(
    site: Site, tmp_path: Path, client: Callable[[Site, Path], Ended]
) -> None:
    must(client(site, tmp_path))


def test_r_fetches(site: Site, tmp_path: Path) -> None:
    code = f"install.packages('jsonlite', '{tmp_path}', '{site.url('cran')}', quiet = TRUE)"
    must(site.here("Rscript", "--vanilla", "-e", code))
    assert (tmp_path / "jsonlite" / "DESCRIPTION").is_file()


def test_a_part_of_a_file_can_be_had(site: Site) -> None:
    url = site.url("manifest.json")
    part = must(site.here("curl", "-s", "--cacert", site.ca, "--range", "2-9", url))
    assert part == (site.root / "manifest.json").read_text()[2:10]


def test_what_a_client_has_is_not_sent_again(site: Site) -> None:
    words = ["curl", "-s", "--cacert", site.ca, "-o", "/dev/null"]
    words += ["-w", "%{http_code} %header{etag}"]
    url = site.url("manifest.json")
    code, etag = must(site.here(*words, url)).split()
    assert code == "200"
    assert must(site.here(*words, "--header", f"If-None-Match: {etag}", url)).split()[0] == "304"


def test_one_client_has_so_many_connections_and_no_more(site: Site) -> None:
    large = max(site.root.rglob("*.conda"), key=lambda file: file.stat().st_size)
    asked, allowed = 80, 64
    words = ["--no-progress-meter", "--cacert", str(site.ca), "--limit-rate", "1k"]
    words += ["--parallel", "--parallel-immediate", "--parallel-max", str(asked)]
    words += ["--max-time", "20", "--write-out", "%{http_code}\\n"]
    one = ["-o", "/dev/null", site.url(str(large.relative_to(site.root)))]
    # Those that are served end with curl's time.
    codes = Counter(site.here("curl", "-s", *words, *(one * asked)).output.split())
    assert set(codes) == {"200", "429"}
    assert codes["200"] == allowed


def got(site: Site, path: str, *options: str) -> tuple[str, str]:
    """Type and content of what the current release has at a path."""
    url = site.url(path).replace(f"releases/{site.release}", "current")
    words = ["-s", "-f", "--cacert", site.ca, "--write-out", "\n%{content_type}", *options]
    content, _, kind = must(site.here("curl", *words, url)).rpartition("\n")
    return kind, content


@pytest.mark.parametrize("place", ["", "tabulate/"])
def test_who_asks_for_json_gets_the_index_of_wheels_so(site: Site, place: str) -> None:
    text, json_type = "text/html", "application/vnd.pypi.simple.v1+json"
    pages = {kind: site.root / f"pypi/simple/{place}index.{kind}" for kind in ("html", "json")}
    asked = {
        "*/*": "html",
        text: "html",
        f"{json_type};q=0, {text}": "html",
        f"{text};q=0.1, {json_type}": "json",
        "application/vnd.pypi.simple.latest+json": "json",
    }
    for accept, kind in asked.items():
        found, content = got(site, f"pypi/simple/{place}", "--header", f"Accept: {accept}")
        assert (accept, found.partition(";")[0]) == (accept, text if kind == "html" else json_type)
        assert content == pages[kind].read_text()
    _, head = got(site, f"pypi/simple/{place}", "--head", "--header", f"Accept: {json_type}")
    told = head.lower()
    assert "vary: accept" in told
    assert "etag:" not in told
    assert "last-modified:" not in told


def test_a_browser_reads_the_documentation(site: Site) -> None:
    for path, file in (("docs/", "README.md"), ("docs/transfer.md", "transfer.md")):
        kind, content = got(site, path)
        assert kind == "text/plain; charset=utf-8"
        assert content == (site.root / "docs" / file).read_text()


def report(site: Site, name: str, *options: str) -> str:
    """What the depot answers to a node's report."""
    words = f"--cacert {CA} {' '.join(options)} -s -o /dev/null -w '%{{http_code}}'"
    url = f"https://depot:{PORT}/landbridge/reports/{name}.json"
    return must(site.node.run(f"echo '{{}}' | curl {words} -T - {url}"))


def test_a_node_reports_under_its_own_name_only(site: Site) -> None:
    own = f"--cert {PEM}"
    assert report(site, "reader") == "401"
    assert report(site, "other", own) == "403"
    assert report(site, "reader", own) in ("201", "204")
    assert must(site.depot.run("ls /var/lib/landbridge/reports")).split() == ["reader.json"]


def requests(site: Site) -> list[dict[str, Any]]:
    """What the depot's log says."""
    lines = must(site.depot.run("cat /var/log/nginx/landbridge-depot.access.log")).splitlines()
    return [json.loads(line) for line in lines]


def test_the_log_says_who_fetched_what(site: Site) -> None:
    told = requests(site)
    assert any(r["who"] == "reader" and "/repodata/repomd.xml" in r["request"] for r in told)


def test_clients_read_the_newest_format_that_they_know(site: Site) -> None:
    sent = [(r["agent"], r["request"].split()[1], r["bytes"]) for r in requests(site)]
    size = (site.root / "pypi/simple/tabulate/index.json").stat().st_size
    for client in ("pip/", "uv/"):
        pages = [
            number
            for agent, path, number in sent
            if agent.startswith(client) and path.endswith("/pypi/simple/tabulate/")
        ]
        assert (client, set(pages)) == (client, {size})
    solver = {path for agent, path, _ in sent if agent.startswith("py-rattler/")}
    assert any("/conda/linux-64/shards/" in path for path in solver)
    assert not any("/repodata.json" in path for path in solver)


# --- what is wrong ---------------------------------------------------------------------------


@pytest.fixture(scope="class")
def tampered(site: Site) -> Iterator[None]:
    """One file of each kind on the depot is another than it was."""
    patterns = ["rpm/el9-x86_64/Packages/**/crun-*.rpm", "pypi/simple/tabulate/*.whl"]
    patterns += ["conda/linux-64/python-3*.conda", "images/blobs/sha256/*"]
    patterns += ["cran/src/contrib/jsonlite_*.tar.gz"]
    files = {file for pattern in patterns for file in site.root.glob(pattern)}
    # What names the others by their digests stays, so that those are asked for.
    files.remove(image_manifest(site))
    good = {file: file.read_bytes() for file in files}
    assert len({file.suffix for file in files}) > 3
    for file, data in good.items():
        overwrite(file, tampered_with(data))
    yield
    for file, data in good.items():
        overwrite(file, data)


def tampered_with(data: bytes) -> bytes:
    """Another content; a zip archive stays a whole one, so that nothing but its hash tells."""
    changed = BytesIO(data)
    if zipfile.is_zipfile(changed):
        with zipfile.ZipFile(changed, "a") as archive:
            archive.writestr("added", "by somebody else")
        return changed.getvalue()
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def overwrite(file: Path, data: bytes) -> None:
    """Give one copy's file another content, under its time."""
    state = file.stat()
    file.unlink()
    file.write_bytes(data)
    os.utime(file, (state.st_mtime, state.st_mtime))


@pytest.mark.usefixtures("tampered")
class TestTampered:
    """While the depot has the files that are not what was signed."""

    @pytest.mark.parametrize(("client", "reason"), REASONS.items())
    def test_a_client_refuses_what_was_tampered_with(
        self, site: Site, tmp_path: Path, client: Callable[[Site, Path], Ended], reason: str
    ) -> None:
        ended = client(site, tmp_path)
        assert ended.code != 0
        assert reason in " ".join(ended.output.split())

    def test_an_images_manifest_is_refused_by_its_digest(self, site: Site) -> None:
        file = image_manifest(site)
        good = file.read_bytes()
        overwrite(file, good + b"\n")
        ended = with_podman(site, Path())
        overwrite(file, good)
        assert ended.code != 0
        assert "does not match provided manifest digest" in ended.output

    @pytest.mark.usefixtures("mitogen")
    def test_landbridge_refuses_what_no_client_checks(self, site: Site) -> None:
        must(site.node.run(f"mv {OWN} {OWN}.kept"))
        ended = site.apply("reader", "preflight")
        must(site.node.run(f"rm -r {OWN}; mv {OWN}.kept {OWN}"))
        assert ended.code != 0
        said = " ".join(ended.output.split())
        assert "jsonlite_" in said
        assert "is not what the signed manifest promises" in said


@pytest.mark.usefixtures("mitogen")
def test_a_depot_that_is_down_is_named_and_a_rerun_mends(site: Site) -> None:
    must(site.depot.run("systemctl stop landbridge-depot"))
    ended = site.apply("reader", "preflight")
    assert ended.code != 0
    said = " ".join(ended.output.split())
    assert "the depot gives no answer: Connection refused" in said
    must(site.depot.run("systemctl start landbridge-depot"))
    must(site.apply("reader", "preflight,repositories"))


def test_a_mirror_goes_on_where_it_was_interrupted(site: Site, folder: Path) -> None:
    mirror = folder / "mirror"
    # It has an older release with everything but the conda packages.
    (mirror / "releases").mkdir(parents=True)
    older = linked(site.root, mirror / "releases" / "standard-000000000000")
    shutil.rmtree(older / "conda")
    words = ["depot", "receive", f"https://{site.host}:{PORT}/landbridge/current"]
    words += ["--depot", str(mirror), "--ca", str(site.ca), "--json"]
    words += ["--key", str(lab_bundle.public_key())]
    last = max((site.root / "conda/linux-64").glob("*.conda"))
    away = last.rename(folder / last.name)
    ended = site.here(BIN / "landbridge", *words)
    away.rename(last)
    assert ended.code != 0
    assert last.name in ended.output
    must(site.here(BIN / "landbridge", *words))
    assert depots.current(mirror) == site.release
    came = mirror / "releases" / site.release
    assert came.joinpath("rpm/el9-x86_64/repodata/repomd.xml").stat().st_nlink > 1
    told = [r for r in requests(site) if r["agent"].startswith("python-httpx")]
    sent = sum(r["bytes"] for r in told if ".conda HTTP" in r["request"])
    # What was under way is continued; without that it were nearly twice as much.
    assert sent < 1.3 * sum(path.stat().st_size for path in site.root.rglob("*.conda"))


@pytest.mark.usefixtures("mitogen")
def test_who_shows_no_certificate_is_refused(site: Site) -> None:
    must(site.apply("depot", "depot", "-e", "depot_readers=authenticated"))
    for client in (with_skopeo, with_podman):
        ended = client(site, Path())
        assert ended.code != 0
        assert "unauthorized" in ended.output or "authentication required" in ended.output
    url = site.url("manifest.json")
    code = site.here(
        "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", site.ca, url
    )
    assert code.output == "401"
    # Root's dnf and landbridge show the node's.
    must(site.node.run("dnf clean metadata && dnf makecache"))
    must(site.apply("reader", "preflight"))


@pytest.mark.usefixtures("mitogen")
def test_a_password_says_who_it_is_as_well(site: Site) -> None:
    known = [{"name": name, "hash": hashed(PASSWORD)} for name in ("reader", USER)]
    given = {"landbridge_depot_readers": "authenticated", "depot_users": known}
    must(site.apply("depot", "depot", "--extra-vars", json.dumps(given)))
    given |= {"landbridge_depot_user": "reader", "landbridge_depot_password": PASSWORD}
    given |= dict.fromkeys(("client_certificate", "client_key"), "")
    told = {f"landbridge_depot_{key}" if "client" in key else key: v for key, v in given.items()}
    said = must(site.apply("reader", "preflight,repositories", "--extra-vars", json.dumps(told)))
    assert PASSWORD not in said
    must(site.node.run("dnf clean metadata && dnf makecache"))
    held = must(site.node.run(f"grep -rlF '{PASSWORD}' /etc")).split()
    modes = must(site.node.run(f"stat -c '%U %a' {' '.join(held)}")).splitlines()
    assert set(modes) == {"root 600"}
    assert report(site, "reader", f"-u 'reader:{PASSWORD}'") in ("201", "204")
    assert report(site, "other", f"-u 'reader:{PASSWORD}'") == "403"
    held_to_their_promises(site)


def test_a_user_reads_it_with_a_password_of_her_own(site: Site) -> None:
    pip = f"python3 $(ls {OWN}/current/toolkit/wheels/pip-*.whl)/pip"
    fetch = f"runuser -u {USER} -- sh -c 'cd && {pip} download -q --no-deps --no-input tabulate'"
    must(site.node.run(f"useradd -m {USER}"))
    assert site.node.run(fetch).code != 0
    netrc = f"machine depot login {USER} password {PASSWORD}"
    must(site.node.run(f"umask 077; echo '{netrc}' >~{USER}/.netrc; chown {USER}: ~{USER}/.netrc"))
    must(site.node.run(fetch))
    assert "tabulate" in must(site.node.run(f"ls ~{USER}"))
    assert any(r["who"] == USER and "/tabulate-" in r["request"] for r in requests(site))


def hashed(password: str) -> str:
    """As the documentation says."""
    command = ["openssl", "passwd", "-6", "-stdin"]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    return done.stdout.strip()
