"""A depot on a machine where SELinux enforces: `make test-vm`.

Its port is one that the policy knows of no web server, so that role depot has to declare it. The
release there is a part of the lab's, enough for being asked. The tests are one story.
"""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lab import nodes, vm
from tests.vm.conftest import DENIALS, apply, denials, must

AREAS = "preflight,trust,depot"
PORT = 8444
NODE, PASSWORD = "node1", "its own"
DEPOT, REPORTS = "/var/lib/landbridge/depot", "/var/lib/landbridge/reports"
# As `landbridge depot receive` leaves them, but for most of the files.
RECEIVE = f"""
mkdir -p {DEPOT}/releases/lab-000000000000
cp {nodes.BUNDLE_MOUNT}/manifest.json* {DEPOT}/releases/lab-000000000000
ln -sfn releases/lab-000000000000 {DEPOT}/current
"""
ASK = f"curl -sS --cacert /etc/landbridge/depot/tls/depot.pem https://localhost:{PORT}/landbridge"
STATUS = "-o /dev/null -w '%{http_code}'"


@pytest.fixture(scope="module")
def depot(
    machine: vm.Machine,
    of_boot: set[tuple[str, ...]],  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> vm.Machine:
    """The machine, with a depot that the role has brought."""
    made = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
    )
    variables = {
        "depot_port": PORT,
        "depot_tls_self_signed": True,
        "depot_tls_names": ["localhost"],
        "depot_users": [{"name": NODE, "hash": made.stdout.strip()}],
    }
    must(machine, RECEIVE)
    file: Path = machine.inventory(tmp_path_factory.mktemp("inventory"), variables)
    content = yaml.safe_load(file.read_text())
    content["all"]["children"] = {"depot": {"hosts": dict.fromkeys(content["all"]["hosts"])}}
    file.write_text(yaml.safe_dump(content))
    apply(file, AREAS)
    return machine


def test_it_serves_from_its_own_domain(depot: vm.Machine) -> None:
    assert must(depot, f"{ASK}/current/manifest.json {STATUS}") == "200"
    listeners = must(depot, f"ss -lntpZ | grep -F :{PORT}").splitlines()
    assert all(":httpd_t:" in line for line in listeners)


def test_it_takes_reports(depot: vm.Machine) -> None:
    put = f"echo '{{}}' | {ASK}/reports/{NODE}.json {STATUS} -T - -u '{NODE}:{PASSWORD}'"
    assert must(depot, put) == "201"
    assert ":httpd_var_lib_t:" in must(depot, f"stat -c %C {REPORTS}/{NODE}.json")


def test_files_have_the_labels_that_were_declared(depot: vm.Machine) -> None:
    assert ":httpd_sys_content_t:" in must(depot, f"stat -c %C {DEPOT}/releases")
    assert must(depot, f"restorecon -nvR {DEPOT} {REPORTS} /etc/landbridge | tail -n 5") == ""


def test_nothing_of_ours_was_denied(depot: vm.Machine, of_boot: set[tuple[str, ...]]) -> None:
    ours = denials(depot) - of_boot
    assert ours == set(), must(depot, DENIALS)
