"""A closed registry with signed and unsigned images, and a node that trusts two keys.

One story for each platform: each test goes on where the one before ended. The registry is on the
node itself, so that no other node is needed.
"""

import base64
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import BIN, Ended, LabNode, run
from tests.lab import nodes, podman, registry
from tests.unit.openpgp import EARLY, Keys, keys

pytestmark = pytest.mark.usefixtures("mitogen")

IMAGE = "localhost/tools/busybox:1"
LAYOUT = f"{nodes.BUNDLE_MOUNT}/images"
DEPOT = "/var/lib/landbridge/depot"
LOOKASIDE_PORT = 8090
WRONG = "wrong-4Tk8-of-the-lab"

# Repository in the registry, who signed its image, and for which repository.
SIGNATURES = {
    "serving/signed": ("good", "serving/signed"),
    "serving/second": ("second", "serving/second"),
    "serving/unsigned": None,
    "serving/stranger": ("stranger", "serving/stranger"),
    "serving/tampered": ("good", "serving/tampered"),
    "serving/replayed": ("good", "serving/signed"),
    "hub/library/tool": ("good", "docker.io/library/tool"),
    "hub/library/unsigned": None,
}
REFUSED = {
    "serving/unsigned": "no signature exists",
    "serving/stranger": "Invalid GPG signature",
    "serving/tampered": "",
    "serving/replayed": "is not accepted",
}


@dataclass(frozen=True)
class Site:
    """A node with its registry, and what is in that."""

    node: LabNode
    registry: registry.Registry
    digest: str
    keys: Keys

    @property
    def variables(self) -> dict[str, Any]:
        """What the inventory says of this site."""
        address = self.registry.address
        here = {"location": address, "insecure": True}
        return {
            "podman_rootless_users": [{"name": "alice"}],
            "podman_registries": [
                {"prefix": address, **here},
                {"prefix": "docker.io", **here, "location": f"{address}/hub"},
            ],
            "podman_signed_registries": [
                {
                    "prefix": f"{address}/serving",
                    "keys": [self.keys.public("good"), self.keys.public("second")],
                    "signatures": f"http://{self.node.name}:{LOOKASIDE_PORT}",
                },
                {
                    "prefix": "docker.io",
                    "keys": [self.keys.public("good")],
                    "signatures": "file:///srv/signatures",
                },
            ],
            "podman_registry_logins": [self.login(registry.PASSWORD)],
        }

    def login(self, password: str) -> dict[str, Any]:
        """An entry of podman_registry_logins for root and a rootless user."""
        who = {"username": registry.USERNAME, "users": ["root", "alice"]}
        return {"registry": self.registry.address, "password": password, **who}

    def converge(self, tags: str, *options: str, **variables: Any) -> Ended:
        """Run site.yml with the site's variables, or others in their place."""
        file = self.node.folder / "variables.yml"
        file.write_text(yaml.safe_dump(self.variables | variables))
        command: list[str | Path] = [BIN / "ansible-playbook", "-i", self.node.inventory()]
        ended = run(*command, "site.yml", "--tags", tags, "-e", f"@{file}", *options)
        assert ended.code == 0, ended.output
        return ended

    def verify(self) -> None:
        """The host checks find what was promised."""
        verify = (BIN / "landbridge", "verify", "--only", "registries")
        ended = run(*verify, "--inventory", self.node.inventory())
        assert ended.code == 0, ended.output

    def shell(self, script: str, user: str = "root") -> Ended:
        """Run a script as a user with a session."""
        if user == "root":
            return self.node.run(script)
        session = f"export XDG_RUNTIME_DIR=/run/user/$(id -u); {script}"
        return self.node.run(f"runuser -l {user} -c '{session}'")

    def pull(self, name: str, user: str = "root") -> Ended:
        """Pull an image that is not there yet."""
        return self.shell(f"podman image rm -f {name}; podman pull -q {name}", user)


def send(node: str, script: str, data: bytes) -> None:
    """Run a script on the node with `data` as its input, of which no process list knows."""
    command = podman.command("exec", "--interactive", node, "sh", "-c", script)
    subprocess.run(command, input=data, check=True)


def signature(site: Site, bundle: Path, signer: str, claimed: str) -> bytes:
    """A signature of the image, which claims a name for it."""
    manifest = bundle / "images/blobs" / site.digest.replace(":", "/")
    name = claimed if claimed.startswith("docker.io") else f"{site.registry.address}/{claimed}"
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "signature")
        key = site.keys.fingerprint(signer)
        command = ["skopeo", "standalone-sign", "-o", str(output), str(manifest), f"{name}:1", key]
        environment = {"GNUPGHOME": str(site.keys.home), "PATH": "/usr/bin:/bin"}
        subprocess.run(command, env=environment, check=True)
        return output.read_bytes()


def publish(site: Site, bundle: Path) -> None:
    """Put all signatures on the node, where they are served over HTTP."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for repository, signed in SIGNATURES.items():
            if signed is None:
                continue
            data = bytearray(signature(site, bundle, *signed))
            if repository == "serving/tampered":
                data[len(data) // 2] ^= 1
            digest = site.digest.replace(":", "=")
            entry = tarfile.TarInfo(f"srv/signatures/{repository}@{digest}/signature-1")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    send(site.node.name, "tar -xf - -C /", packed.getvalue())
    serve = f"python3 -m http.server --directory /srv/signatures {LOOKASIDE_PORT}"
    ended = site.node.run(f"chmod -R a+rX /srv/signatures; systemd-run --unit=lookaside {serve}")
    assert ended.code == 0, ended.output


@pytest.fixture(scope="module", params=["el9", "el10"])
def site(
    request: pytest.FixtureRequest, boot: Callable[..., LabNode], bundle: Path
) -> Iterator[Site]:
    """A node before its first converge, with the registry filled and the signatures served."""
    node = boot(f"policy-{request.param}", request.param, bundle)
    store = registry.start(node.name, closed=True)
    digests = {store.push(bundle / "images", IMAGE, f"{name}:1") for name in SIGNATURES}
    (digest,) = digests
    with tempfile.TemporaryDirectory() as scratch, keys(Path(scratch, "gnupg")) as made:
        for owner in ("good", "second", "stranger"):
            made.make(owner, at=EARLY)
        site = Site(node, store, digest, made)
        publish(site, bundle)
        assert node.run("useradd --create-home alice").code == 0
        yield site


def test_wrong_password_is_a_clear_error(site: Site) -> None:
    said = site.converge("repositories,podman", podman_registry_logins=[site.login(WRONG)]).output
    assert WRONG not in said
    for user in ("root", "alice"):
        ended = site.pull(f"{site.registry.address}/serving/signed:1", user)
        assert ended.code != 0
        assert "unauthorized" in ended.output or "authentication required" in ended.output


def test_password_shows_up_nowhere(site: Site) -> None:
    hidden = [WRONG, registry.PASSWORD]
    hidden += [
        base64.b64encode(f"{registry.USERNAME}:{password}".encode()).decode() for password in hidden
    ]
    # Looks at all processes until one shows a secret.
    send(site.node.name, "umask 077; cat >/run/hidden", "\n".join(hidden).encode())
    watch = (
        "until cat /proc/[0-9]*/cmdline 2>/dev/null | grep -aqf /run/hidden; do sleep 0.01; done"
    )
    assert site.node.run(f"systemd-run --unit=watch sh -c '{watch}'").code == 0
    said = site.converge("registries,promise", "-vvv", "--diff").output
    assert "Log users in to registries" in said
    assert "another password" in said
    assert [secret for secret in hidden if secret in said] == []
    files = "/var/log /run/log /etc/landbridge /var/lib/landbridge /tmp /root/.ansible"
    found = site.node.run(f"grep -arlf /run/hidden {files}; journalctl | grep -aqf /run/hidden")
    assert found.output == ""
    assert site.node.run("systemctl is-active watch").output.strip() == "active"
    # The watch would have seen it.
    assert site.node.run('sh -c "sleep 2; : $(tail -n 1 /run/hidden)"').code == 0
    assert site.node.run("systemctl is-active watch").output.strip() == "inactive"


@pytest.mark.parametrize("user", ["root", "alice"])
def test_signed_images_are_accepted(site: Site, user: str) -> None:
    base = f"{site.registry.address}/serving"
    for name in (f"{base}/signed:1", f"{base}/signed@{site.digest}", f"{base}/second:1"):
        ended = site.pull(name, user)
        assert ended.code == 0, ended.output


def test_services_of_root_are_logged_in(site: Site) -> None:
    name = f"{site.registry.address}/serving/second:1"
    service = f"systemd-run --quiet --pipe --wait podman pull -q {name}"
    ended = site.shell(f"podman image rm -f {name}; {service}")
    assert ended.code == 0, ended.output
    # So is whoever talks to the socket, as Docker's clients do.
    remote = f"podman --url unix:///run/docker.sock pull -q {name}"
    ended = site.shell(f"podman image rm -f {name}; {remote}")
    assert ended.code == 0, ended.output


@pytest.mark.parametrize("user", ["root", "alice"])
@pytest.mark.parametrize("repository", REFUSED)
def test_other_images_are_refused(site: Site, repository: str, user: str) -> None:
    for reference in (":1", f"@{site.digest}"):
        ended = site.pull(f"{site.registry.address}/{repository}{reference}", user)
        assert ended.code != 0
        assert "Source image rejected" in ended.output
        assert REFUSED[repository] in ended.output


def test_rewritten_registry_is_asked_by_its_location(site: Site) -> None:
    for user in ("root", "alice"):
        ended = site.pull("docker.io/library/tool:1", user)
        assert ended.code == 0, ended.output
        assert site.pull("docker.io/library/unsigned:1", user).code != 0
    asked = "\n".join(site.registry.requests())
    assert "GET /v2/hub/library/tool/manifests/1" in asked
    assert nodes.packets(site.node.name) == 0


@pytest.mark.parametrize("user", ["root", "alice"])
def test_what_is_built_here_needs_no_signature(site: Site, user: str) -> None:
    name = f"{site.registry.address}/serving/built:1"
    for line in (
        f"skopeo copy -q oci:{LAYOUT}:{IMAGE} containers-storage:{IMAGE}",
        f'mkdir -p b; printf "FROM {IMAGE}\\nRUN echo hi >/hi\\n" >b/Containerfile',
        "podman build -q -t localhost/built:1 b",
        f"podman run --name made --network none {IMAGE} touch /made",
        "podman commit -q made localhost/made:1",
        "podman rm made",
        f"podman push -q localhost/built:1 {name}",
        "podman pod create made",
        "podman pod rm made",
    ):
        ended = site.shell(line, user)
        assert ended.code == 0, f"{line}: {ended.output}"
    # Nobody has signed what was pushed.
    assert site.pull(name, user).code != 0


def test_docker_build_needs_no_signature(site: Site) -> None:
    ended = site.shell("podman --url unix:///run/docker.sock build -q -t localhost/socket:1 b")
    assert ended.code == 0, ended.output


def test_archives_need_their_variable(site: Site) -> None:
    save = f"podman save -q -o /srv/archive.tar {IMAGE}"
    assert site.shell(f"rm -f /srv/archive.tar; {save}").code == 0
    load = "podman load -q -i /srv/archive.tar"
    assert "rejected by policy" in site.shell(load).output
    site.converge("registries,promise", podman_policy_archives=True)
    ended = site.shell(load)
    assert ended.code == 0, ended.output
    site.verify()


def test_next_release_needs_no_other_policy(site: Site) -> None:
    folders = f"{DEPOT}/releases/old {DEPOT}/releases/new {DEPOT}/incoming/next"
    copies = f"for f in {folders}; do mkdir -p $f; cp -r {LAYOUT} $f/; done"
    assert site.shell(f"{copies}; ln -s releases/old {DEPOT}/current").code == 0
    site.converge("registries", podman_images_layout=f"{DEPOT}/current/images")
    copy = f"skopeo copy -q oci:{DEPOT}/%s/images:{IMAGE} containers-storage:localhost/next:1"
    for release in ("current", "releases/new"):
        ended = site.shell(copy % release)
        assert ended.code == 0, ended.output
    assert "rejected by policy" in site.shell(copy % "incoming/next").output


def test_dropped_login_goes(site: Site) -> None:
    own = {"auths": {"own.example.org": {"auth": "b3duOm93bg=="}}}
    file = "/home/alice/.config/containers/auth.json"
    had = json.loads(site.shell(f"cat {file}").output)
    data = json.dumps({"auths": had["auths"] | own["auths"]}).encode()
    send(site.node.name, f"cat >{file}", data)
    site.converge("registries,promise", podman_registry_logins=[])
    assert json.loads(site.shell(f"cat {file}").output) == own
    assert site.shell("ls /root/.config/containers/auth.json").code != 0
    site.verify()
