"""Docker's own clients find Podman in Docker's place: the CLI, Compose, the SDK for Python.

Root's socket and a user's own, in login shells, on nodes with no route out; podman-compose too.
The last two tests go on with the nodes: a reboot, and an inventory that takes it all away.
"""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Ended, LabNode
from tests.lab import docker_clients, nodes
from tests.lab.platforms import PLATFORMS

pytestmark = pytest.mark.usefixtures("mitogen")

IMAGE = "localhost/tools/busybox:1"
# Nobody's image: the name alone must be refused, before any packet is sent.
FOREIGN = "docker.io/library/landbridge-must-not-be-pulled"
SDK = Path(__file__).with_name("docker_sdk.py")
ROOTS = "unix:///run/docker.sock"
# alice has a socket of her own, bob is in the group that may use root's.
MEMBER, ROOTLESS = "bob", "alice"
GIVEN = {
    "podman_docker_group": "docker",
    "podman_rootless_users": [{"name": ROOTLESS}],
    "podman_policy_archives": True,  # docker load
}
TAKEN = {**GIVEN, "podman_docker_group": "", "podman_user_sockets": False}
# Podman has no BuildKit.
CLIENTS = f"export PATH={docker_clients.FOLDER}/bin:$PATH DOCKER_BUILDKIT=0"
COMPOSE = f"""
services:
  store:
    image: {IMAGE}
    command: sh -c 'echo answer > /www/index.html && exec httpd -f -h /www'
    volumes: [www:/www]
  asker:
    build: .
    environment: {{STORE: store}}
    depends_on: [store]
volumes: {{www: {{}}}}
"""
ASKER = f"""FROM {IMAGE}
CMD until wget -qO- http://$STORE/ 2>/dev/null; do sleep 0.1; done; exec sleep 1000
"""

as_both = pytest.mark.parametrize("user", ["root", ROOTLESS])


def converge(node: LabNode, tags: str, variables: dict[str, object]) -> None:
    """Apply what has these tags, with these variables."""
    file = node.folder / "variables.json"
    file.write_text(json.dumps(variables))
    ended = node.apply("--tags", tags, "--extra-vars", f"@{file}")
    assert ended.code == 0, ended.output


@pytest.fixture(scope="module", params=sorted(PLATFORMS))
def node(request: pytest.FixtureRequest, boot: Callable[..., LabNode], bundle: Path) -> LabNode:
    """A node with Podman, with Docker's clients, and with users."""
    node = boot(f"clients-{request.param}", request.param, bundle)
    must(node, f"useradd --create-home {ROOTLESS}; useradd --create-home {MEMBER}")
    converge(node, "repositories,podman", GIVEN)
    must(node, f"usermod --append --groups docker {MEMBER}")
    docker_clients.put(PLATFORMS[request.param], node.name)
    return node


def must(node: LabNode, script: str) -> str:
    """Output of root's script that has to go well."""
    ended = node.run(script)
    assert ended.code == 0, ended.output
    return ended.output


def login(node: LabNode, user: str, script: str) -> Ended:
    """Run a script in a login shell of the user's, where `docker` is Docker's own."""
    return node.run(f"runuser -l {user} -c {shlex.quote(f'{CLIENTS}; set -e; {script}')}")


def said(node: LabNode, user: str, script: str) -> str:
    """Output of the user's script that has to go well."""
    ended = login(node, user, script)
    assert ended.code == 0, ended.output
    return ended.output.strip()


def left(node: LabNode, user: str) -> str:
    """What is there besides the bundle's image and Podman's own network."""
    return said(
        node,
        user,
        f"""podman ps --all --format '{{{{.Names}}}}'
        podman pod ls --format '{{{{.Name}}}}'
        podman volume ls --format '{{{{.Name}}}}'
        podman network ls --format '{{{{.Name}}}}' | grep -vx podman || :
        podman images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep -vx {IMAGE} || :""",
    )


@as_both
def test_cli_builds_an_image_and_moves_it(node: LabNode, user: str) -> None:
    script = f"""
        mkdir -p ~/app; cd ~/app
        printf 'FROM {IMAGE}\\nCOPY sent /\\nRUN tr a-z A-Z < /sent > /built\\n' > Dockerfile
        echo hello > sent
        docker build --quiet --tag localhost/cli/app:1 . >&2
        docker save --output app.tar localhost/cli/app:1
        docker rmi localhost/cli/app:1 >&2
        docker load --input app.tar >&2
        docker run --rm localhost/cli/app:1 cat /built
        echo across | docker run --rm --interactive localhost/cli/app:1 cat
        docker rmi localhost/cli/app:1 >&2
    """
    assert said(node, user, f"({script}) 2>~/log").split() == ["HELLO", "across"]
    assert left(node, user) == ""


@as_both
def test_cli_runs_a_service(node: LabNode, user: str) -> None:
    """Network, volume, port, environment, log, files, events: a container's whole life."""
    must(node, "rm -rf /tmp/cli; mkdir --mode=1777 /tmp/cli")
    script = f"""
        cd /tmp/cli
        start=$(date +%s)
        docker network create cli-net; docker volume create cli-data
        docker run --detach --name cli --network cli-net --volume cli-data:/data \\
            --publish 18080:80 --env WORD=kept {IMAGE} sh -c 'echo ready; exec httpd -f -h /data'
        docker exec cli sh -c 'echo $WORD > /data/index.html'
        echo across > sent; docker cp sent cli:/sent; docker cp cli:/sent returned
        docker logs cli > log
        docker inspect cli > inspected
        docker ps --format '{{{{.Names}}}}' > running
        python3 -c 'from urllib.request import urlopen as get
print(get("http://127.0.0.1:18080/").read().decode())' > page
        docker stop --time 0 cli; docker rm cli
        docker network rm cli-net; docker volume rm cli-data
        docker events --since $start --until $(($(date +%s) + 1)) --filter container=cli \\
            --format '{{{{.Action}}}}' > events
    """
    said(node, user, script)
    read = {f: must(node, f"cat /tmp/cli/{f}").strip() for f in ("log", "page", "running")}
    assert read == {"log": "ready", "page": "kept", "running": "cli"}
    assert must(node, "cat /tmp/cli/returned") == "across\n"
    assert {"create", "start", "die"} <= set(must(node, "cat /tmp/cli/events").split())
    (seen,) = json.loads(must(node, "cat /tmp/cli/inspected"))
    assert seen["State"]["Status"] == "running"
    assert seen["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "18080"
    assert [mount["Name"] for mount in seen["Mounts"]] == ["cli-data"]
    assert list(seen["NetworkSettings"]["Networks"]) == ["cli-net"]
    assert left(node, user) == ""


@as_both
def test_sdk(node: LabNode, user: str) -> None:
    must(node, f"cat > /tmp/docker_sdk.py <<'SCRIPT'\n{SDK.read_text()}SCRIPT\n")
    python = f"PYTHONPATH={docker_clients.FOLDER}/python python3"
    seen = json.loads(said(node, user, f"{python} /tmp/docker_sdk.py {IMAGE} {FOREIGN}"))
    assert {"create", "start", "die"} <= set(seen.pop("events"))
    assert "blocked" in seen.pop("refused")
    assert seen == {
        "host": "http+docker://localhost",
        "built": "built\n",
        "log": "ready\n",
        "exec": "kept\n",
        "copied": "across",
        "status": "running",
        "networks": ["sdk-net"],
        "mounts": ["sdk-data"],
        "listed": ["sdk-app"],
        "loaded": ["localhost/sdk/app:1"],
        "left": [],
    }
    assert left(node, user) == ""


@as_both
@pytest.mark.parametrize("compose", ["docker-compose", "podman-compose"])
def test_compose_of_two_services(node: LabNode, user: str, compose: str) -> None:
    """One service builds its image and asks the other by name."""
    files = f"cat > compose.yaml <<'E'\n{COMPOSE}E\ncat > Dockerfile <<'E'\n{ASKER}E\n"
    said(node, user, f"mkdir -p ~/shop; cd ~/shop\n{files}{compose} up --detach --build 2>~/log")
    names = said(node, user, f"cd ~/shop; {compose} ps 2>/dev/null")
    assert all(name in names for name in ("store", "asker"))
    heard = f"until {compose} logs asker 2>&1 | grep answer; do sleep 0.2; done"
    assert "answer" in said(node, user, f"cd ~/shop; timeout 30 sh -c '{heard}'")
    said(node, user, f"cd ~/shop; {compose} down --volumes --timeout 0 2>~/log")
    built = "$(podman images --quiet --filter reference='*shop*asker')"
    said(node, user, f"podman rmi {built}")
    assert left(node, user) == ""


@as_both
def test_closed_registry_is_named(node: LabNode, user: str) -> None:
    ended = login(node, user, f"docker pull {FOREIGN}:1")
    assert ended.code != 0
    assert "registry docker.io is blocked" in ended.output
    assert nodes.packets(node.name) == 0


def test_what_podman_does_not_do_is_refused(node: LabNode) -> None:
    """As README says; a Podman that learns one of them ends this test."""
    ended = login(node, "root", "docker swarm init")
    assert "Podman does not support service" in ended.output
    ended = login(node, "root", "DOCKER_BUILDKIT=1 docker build .")
    assert "BuildKit is enabled but the buildx component is missing" in ended.output
    ended = login(node, "root", "docker system prune --force")
    assert "Not Found" in ended.output


def sockets_are_right(node: LabNode) -> None:
    """Who reaches which socket, without a variable set by hand."""
    root_dir = "docker info --format '{{.DockerRootDir}}'"
    assert said(node, MEMBER, root_dir) == "/var/lib/containers/storage"
    assert said(node, ROOTLESS, root_dir).startswith(f"/home/{ROOTLESS}/")
    ended = login(node, ROOTLESS, f"DOCKER_HOST={ROOTS} docker ps")
    assert ended.code != 0
    assert "permission denied" in ended.output
    assert must(node, "readlink -f /run/docker.sock").strip() == "/run/podman/podman.sock"
    assert must(node, "ls /run/podman").split() == ["podman.sock"]


def test_each_finds_the_socket_that_is_theirs(node: LabNode) -> None:
    sockets_are_right(node)
    # As with Docker: whoever has the socket is root.
    shadow = f"docker run --rm --volume /etc/shadow:/shadow:ro {IMAGE} head -c 5 /shadow"
    assert said(node, MEMBER, shadow) == "root:"
    tcsh = f"{docker_clients.FOLDER}/bin/tcsh -fc"
    source = "source /etc/profile.d/landbridge-docker-host.csh; echo $DOCKER_HOST"
    for user in (MEMBER, ROOTLESS):
        wanted = said(node, user, "echo $DOCKER_HOST")
        assert wanted
        assert said(node, user, f"unset DOCKER_HOST; {tcsh} {shlex.quote(source)}") == wanted


def test_sockets_outlive_a_reboot_and_tmpfiles(node: LabNode) -> None:
    nodes.restart(node.name)
    sockets_are_right(node)
    must(node, "systemd-tmpfiles --create --boot --prefix=/run/podman")
    must(node, "systemctl stop podman.socket; rm -r /run/podman; systemctl start podman.socket")
    sockets_are_right(node)


def test_what_is_taken_away_is_gone(node: LabNode) -> None:
    """The sockets go back to root and to nobody; a container runs on."""
    said(node, MEMBER, f"docker run --detach --name stays {IMAGE} sleep 1000")
    pid = said(node, "root", "docker inspect --format '{{.State.Pid}}' stays")
    converge(node, "sockets", TAKEN)
    assert said(node, "root", "docker inspect --format '{{.State.Pid}}' stays") == pid
    for again in ("true", "systemctl restart podman.socket", "systemd-tmpfiles --create --boot"):
        must(node, f"{again} 2>/dev/null")
        modes = must(node, "stat --format='%a %G' /run/podman /run/podman/podman.sock")
        assert modes.splitlines() == ["700 root", "660 root"]
        assert "permission denied" in login(node, MEMBER, f"DOCKER_HOST={ROOTS} docker ps").output
    assert "landbridge" not in must(node, "ls /etc/profile.d")
    asked = "is-active podman.socket || systemctl --global is-enabled podman.socket || :"
    states = said(
        node, ROOTLESS, f"export XDG_RUNTIME_DIR=/run/user/$UID; systemctl --user {asked}"
    )
    assert states.split() == ["inactive", "disabled"]
    must(node, "docker rm --force --time 0 stays")
