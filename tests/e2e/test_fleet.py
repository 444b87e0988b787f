"""Nodes come into an inventory when they are good, one at a time, and converge themselves.

One story: each test goes on where the one before ended.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import BIN, Ended, LabNode, linked, must, run
from tests.lab import inventory as inventories
from tests.lab import nodes, paths, releases
from tests.lab.authority import authority
from tests.lab.platforms import PLATFORMS

TAGS = "preflight,toolkit,repositories,pull"
SSHD = "sshd.service"
DEPOT = "/var/lib/landbridge/depot"
SOURCE = f"{nodes.BUNDLE_MOUNT}/now"
REPORTS = "https://localhost:8443/landbridge/reports"
# Takes what one user PUTs, over TLS, as the depot does.
SERVER = """
import base64, http.server, pathlib, ssl
WHO = "Basic " + base64.b64encode(b"pulls:its own").decode()
class Taker(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.headers.get("Authorization") == WHO
        if good:
            pathlib.Path("/srv/reports", pathlib.Path(self.path).name).write_bytes(body)
        self.send_response(201 if good else 401)
        self.end_headers()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/server.pem")
server = http.server.HTTPServer(("127.0.0.1", 8443), Taker)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

pytestmark = pytest.mark.usefixtures("mitogen")


@pytest.fixture(scope="module")
def bundles(bundle: Path) -> Iterator[Path]:
    """The folder that nodes see; `now` in it is a release, the one after it is `next`."""
    folder = paths.cache() / "fleet-bundles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    linked(bundle, folder / "now")
    releases.following(bundle, folder / "next", PLATFORMS["el10"])
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def fleet(boot: Callable[..., LabNode], bundles: Path) -> dict[str, LabNode]:
    """Two EL10-like nodes, one of which begins with the bundle in a depot of its own."""
    booted = {name: boot(name, "el10", bundles) for name in ("pulls", "waits")}
    must(booted["pulls"].bootstrap(SOURCE))
    must(booted["pulls"].run(f"landbridge depot receive {SOURCE}"))
    return booted


@pytest.fixture(scope="module")
def inventory(fleet: dict[str, LabNode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory that knows how nodes are reached, and has none."""
    file = tmp_path_factory.mktemp("fleet") / "hosts.yml"
    found = yaml.safe_load(inventories.write(file, list(fleet)[1:], SOURCE).read_text())["all"]
    reached = found["hosts"]["waits"]
    del reached["ansible_host"]
    # What is in there is a node's own.
    shared = re.sub(r"ControlPath=\S+", "ControlPath=none", reached["ansible_ssh_common_args"])
    variables = {**found["vars"], **reached, "ansible_ssh_common_args": shared}
    (file.parent / "group_vars").mkdir()
    (file.parent / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    file.write_text("# Our nodes.\nall:\n  hosts:\n")
    return file


def add(inventory: Path, name: str, *words: str, later: str = "+0") -> Ended:
    """`landbridge node add`, by a clock that is so much later than the node's."""
    address = nodes.find(name).host
    command = (BIN / "landbridge", "node", "add", name, "--inventory", inventory)
    command += ("--address", address, *words)
    return run("faketime", "-f", later, *command) if later != "+0" else run(*command)


def apply(inventory: Path, *words: str) -> Ended:
    return run(BIN / "landbridge", "apply", "--inventory", inventory, "--tags", TAGS, *words)


def test_a_machine_that_is_not_good_is_not_added(
    fleet: dict[str, LabNode], inventory: Path
) -> None:
    before = inventory.read_text()
    node = fleet["waits"]
    must(node.run("useradd -m bare && cp -r /root/.ssh /home/bare/ && chown -R bare /home/bare"))
    nobody = add(inventory, node.name, "--var", "ansible_user=bare")
    wrong_clock = add(inventory, node.name, later="+2h")
    must(node.run("mkdir -p /opt/landbridge && mount -t tmpfs -o size=40m tmpfs /opt/landbridge"))
    full = add(inventory, node.name)
    must(node.run("umount /opt/landbridge && rmdir /opt/landbridge"))
    dark = add(inventory, node.name, "--var", "ansible_port=1")
    for ended, said in (
        (nobody, "no root by become"),
        (wrong_clock, "s behind this machine's"),
        (full, "/opt/landbridge has"),
        (dark, "cannot be reached over SSH"),
    ):
        assert ended.code == 1
        assert said in ended.output
    assert inventory.read_text() == before
    node.assert_untouched()


def test_good_machines_are_added(fleet: dict[str, LabNode], inventory: Path) -> None:
    for name in fleet:
        said = must(add(inventory, name, "--group", "compute"))
        assert f"--limit {name}" in said
    assert inventory.read_text().startswith("# Our nodes.\n")


def test_the_new_node_alone_is_converged(fleet: dict[str, LabNode], inventory: Path) -> None:
    variables = {
        "landbridge_depot": f"{DEPOT}/current",
        "pull_enabled": True,
        "pull_source": SOURCE,
        "pull_tags": TAGS.split(","),
        "pull_report_url": REPORTS,
        "pull_report_ca": "/srv/ca.pem",
        "pull_report_user": "pulls",
        "pull_report_password": "its own",
    }
    (inventory.parent / "host_vars").mkdir()
    (inventory.parent / "host_vars/pulls.yml").write_text(yaml.safe_dump(variables))
    must(apply(inventory, "--limit", "pulls"))
    fleet["waits"].assert_untouched()
    timer = "systemctl is-enabled landbridge-pull.timer; systemctl is-active landbridge-pull.timer"
    assert must(fleet["pulls"].run(timer)).split() == ["enabled", "active"]
    own = must(fleet["pulls"].run("cat /etc/landbridge/inventory/hosts.yml"))
    assert "waits" not in own
    assert "compute" in own
    files = "/etc/landbridge/inventory/* /etc/landbridge/pull.json"
    modes = must(fleet["pulls"].run(f"stat -c %a {files}"))
    assert set(modes.split()) == {"600"}


def test_a_node_out_of_reach_is_reported_and_picked_up(
    fleet: dict[str, LabNode], inventory: Path
) -> None:
    must(fleet["waits"].run(f"systemctl stop {SSHD}"))
    ended = apply(inventory, "--json")
    assert ended.code == 4, ended.output[-3000:]
    result = json.loads(ended.output[ended.output.index("{") :])
    assert list(result["unreachable"]) == ["waits"]
    assert result["hosts"]["pulls"]["changed"] == 0  # a second run changes nothing
    must(fleet["waits"].run("systemctl start sshd.service"))
    picked = must(apply(inventory, "--retry"))
    assert "waits: ok=" in picked
    assert "pulls: ok=" not in picked
    assert "no node is left" in must(apply(inventory, "--retry"))
    words = ("verify", "--inventory", inventory, "--only", "pull", "--json")
    said = must(run(BIN / "landbridge", *words))
    checks = json.loads(said[said.index("{\n") :])["checks"]
    assert [c["outcome"] for c in checks if c["area"] == "pull"] == ["passed", "passed"]


def test_a_node_pulls_the_next_release_and_reports(
    fleet: dict[str, LabNode], bundles: Path, tmp_path: Path
) -> None:
    node = fleet["pulls"]
    ca = authority(tmp_path)
    for target, file in (("ca", ca.certificate), ("server", ca.issue("DNS:localhost"))):
        must(node.run(f"cat >/srv/{target}.pem <<'PEM'\n{file.read_text()}PEM\n"))
    must(node.run(f"mkdir /srv/reports; cat >/srv/server.py <<'PY'\n{SERVER}PY\n"))
    must(node.run("systemd-run --unit reports python3 /srv/server.py"))
    (bundles / "now").rename(bundles / "before")
    (bundles / "next").rename(bundles / "now")
    must(
        node.run(
            "systemctl start landbridge-pull.service || { journalctl -u landbridge-pull; false; }"
        )
    )
    release = json.loads((bundles / "now/content.json").read_text())["release"]
    assert must(node.run(f"readlink {DEPOT}/current")).strip() == f"releases/{release}"
    recorded = json.loads(must(node.run("cat /var/lib/landbridge/release.json")))
    assert recorded["release"] == release
    (line,) = json.loads(must(node.run("landbridge nodes --reports /srv/reports --json")))
    assert (line["name"], line["release"], line["state"]) == ("pulls", release, "ok")
    report = json.loads(must(node.run("cat /srv/reports/pulls.json")))
    assert report["snapshot"]["depot"]["content"]["release"] == release


def test_a_pull_that_fails_waits_and_a_deaf_depot_fails_nothing(
    fleet: dict[str, LabNode], bundles: Path
) -> None:
    node = fleet["pulls"]
    manifest = bundles / "now/manifest.json"
    manifest.rename(bundles / "manifest.json")
    failed = node.run("landbridge pull")
    assert failed.code != 0
    (line,) = json.loads(must(node.run("landbridge nodes --reports /srv/reports --json")))
    assert line["state"] != "ok"
    assert re.search(
        r"the next one is in \d+ minutes", must(node.run("landbridge pull --scheduled"))
    )
    (bundles / "manifest.json").rename(manifest)
    must(node.run("systemctl stop reports"))
    assert "the report is not taken" in must(node.run("landbridge pull"))
    assert nodes.packets(node.name) == 0
