"""What containers need under Podman, and the quadlets that run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.docker_daemon import IMAGE, DockerNode, container, served, with_containers
from tests.unit.roles.modules import Runner

Entry = dict[str, Any]
Survey = Callable[..., list[Entry]]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerNode:
    return DockerNode(tmp_path, monkeypatch)


@pytest.fixture
def survey(node: DockerNode, capsys: pytest.CaptureFixture[str]) -> Survey:
    """The survey's containers, of a daemon that runs these."""
    run = Runner(node.module, capsys)

    def look(*containers: Entry, **more: Any) -> list[Entry]:
        changes = more.pop("changes", None)
        answers = with_containers(*containers, **more)
        for path in [path for path in answers if path.endswith("/changes")]:
            answers[path] = changes
        node.started()
        node.daemon_json(hosts=[f"unix://{node.socket}"])
        with served(node.socket, answers):
            answer = run()
        assert not answer.get("failed"), answer
        found: list[Entry] = answer["survey"]["containers"]
        return found

    return look


def unit(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = entry["quadlet"]["sections"]["Container"]
    return found


def test_a_plain_service_needs_nothing(survey: Survey) -> None:
    (web,) = survey(container(PortBindings={"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}))
    assert web["needs"] == []
    assert web["quadlet"] == {
        "name": "web",
        "type": "container",
        "sections": {
            "Container": {
                "ContainerName": "web",
                "Image": "registry.example.org/web:1",
                "PublishPort": ["8080:80"],
            }
        },
    }


def test_only_what_differs_from_the_image_is_said(survey: Survey) -> None:
    base = {
        "Env": ["PATH=/bin", "LEVEL=1"],
        "Entrypoint": ["run"],
        "Cmd": ["serve"],
        "User": "33",
        "Labels": {"made": "here"},
    }
    same = container("same", **base)
    more = container("more", **{**base, "Env": ["PATH=/bin", "LEVEL=2"], "Cmd": ["serve", "a b"]})
    entries = survey(more, same, image={**IMAGE, "Config": base})
    assert unit(entries[1]).keys() == {"ContainerName", "Image"}
    assert unit(entries[0])["Environment"] == ["LEVEL=2"]
    assert unit(entries[0])["Exec"] == 'serve "a b"'


def test_values_reach_the_program_as_they_were(survey: Survey) -> None:
    (web,) = survey(
        container(
            Env=["A=a b", "B=50% $HOME", 'C="x"\\', "D=one\ntwo", "E="],
            Entrypoint=["sh", "-c"],
            Cmd=['echo "$A"'],
            Mounts=[{"Type": "bind", "Source": "/srv/my files", "Destination": "/d", "Mode": "Z"}],
        )
    )
    assert unit(web)["Environment"] == [
        '"A=a b"',
        '"B=50%% $$HOME"',
        r'"C=\"x\"\\"',
        r'"D=one\ntwo"',
        "E=",
    ]
    assert unit(web)["Exec"] == r'"echo \"$$A\""'
    assert unit(web)["PodmanArgs"] == [r'"--entrypoint=[\"sh\", \"-c\"]"']
    # Podman takes this value whole, and quotes in it for part of the path.
    assert unit(web)["Volume"] == ["/srv/my files:/d:Z"]


def test_secrets_become_references_and_show_nowhere(survey: Survey) -> None:
    (web,) = survey(
        container(
            Env=["DB_PASSWORD=hunter2!", "URL=http://u:hunter2!@x/", "DB_PASSWORD_FILE=/run/s"],
            Cmd=["serve", "--password", "hunter2!"],
            Labels={"auth": "hunter2!", "com.docker.compose.project": "shop"},
            Healthcheck={"Test": ["CMD-SHELL", "login -p hunter2!"]},
        )
    )
    assert "hunter2" not in str(web)
    assert unit(web)["Secret"] == [
        "web-db-password,type=env,target=DB_PASSWORD",
        "web-url,type=env,target=URL",
    ]
    assert unit(web)["Environment"] == ["DB_PASSWORD_FILE=/run/s"]
    assert unit(web)["Label"] == ["auth=***"]
    assert unit(web)["Exec"] == "serve --password ***"
    assert unit(web)["HealthCmd"] == "login -p ***"
    assert [need.split()[1] for need in web["needs"][:2]] == ["DB_PASSWORD", "URL"]
    assert "shown as ***" in web["needs"][2]


@pytest.mark.parametrize(
    ("test", "command"),
    [
        (["CMD-SHELL", "curl -f $URL || exit 1"], "curl -f $$URL || exit 1"),
        (["CMD", "curl", "-f", "a b"], '["curl", "-f", "a b"]'),
        (["CMD", "true"], "true"),
        (["NONE"], "none"),
    ],
)
def test_health_checks(survey: Survey, test: list[str], command: str) -> None:
    check = {"Test": test, "Interval": 10**10, "Timeout": 5 * 10**8, "Retries": 2}
    (web,) = survey(container(Healthcheck=check))
    assert unit(web)["HealthCmd"] == command
    if test != ["NONE"]:
        assert unit(web)["HealthInterval"] == "10s"
        assert unit(web)["HealthTimeout"] == "0.5s"
        assert unit(web)["HealthRetries"] == "2"


def test_a_health_check_whose_quotes_podman_would_strip_is_an_argument(survey: Survey) -> None:
    (web,) = survey(container(Healthcheck={"Test": ["CMD-SHELL", 'test "a" = "$A"']}))
    assert "HealthCmd" not in unit(web)
    assert unit(web)["PodmanArgs"] == [r'"--health-cmd=test \"a\" = \"$$A\""']


@pytest.mark.parametrize(
    ("now", "service", "starts", "word"),
    [
        (("always", "running"), None, True, ""),
        (("unless-stopped", "running"), None, True, ""),
        (("unless-stopped", "exited"), None, False, "does not start it"),
        (("always", "exited"), None, True, "leave it out"),
        (("no", "running"), {"Restart": "no"}, True, "does not start at boot under Docker"),
        (("no", "exited"), {"Restart": "no"}, False, "exit code 3"),
        (("on-failure", "running"), {"Restart": "on-failure"}, True, ""),
        (("always", "restarting"), None, True, "again and again"),
        (("always", "paused"), None, True, "paused"),
    ],
)
def test_states_and_restart_policies(
    survey: Survey, now: tuple[str, str], service: Entry | None, starts: bool, word: str
) -> None:
    policy, status = now
    state = {"Status": status, "ExitCode": 3}
    (web,) = survey(container(RestartPolicy={"Name": policy}, State=state))
    sections = web["quadlet"]["sections"]
    assert sections.get("Service") == service
    assert ("Install" not in sections) is starts
    assert word in " ".join(web["needs"]) if word else web["needs"] == []


NEEDS = [
    ({"Links": ["/db:/web/database"]}, "linked to db as database"),
    ({"LogConfig": {"Type": "fluentd"}}, "no log driver fluentd"),
    ({"LogConfig": {"Type": "syslog"}}, "rsyslog"),
    ({"Runtime": "kata"}, "runs with kata"),
    ({"CgroupParent": "/ours"}, "Slice="),
    ({"StorageOpt": {"size": "10G"}}, "pquota"),
    ({"PublishAllPorts": True}, "numbers that change"),
    ({"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}}, "number that changes"),
    ({"PortBindings": {"53/udp": [{"HostIp": "", "HostPort": "53"}]}}, "dns_bind_port"),
    ({"SecurityOpt": ['seccomp={"defaultAction": "x"}']}, "seccomp profile of its own"),
    ({"SecurityOpt": ["systempaths=unconfined"]}, "Unmask=ALL"),
    ({"OomKillDisable": True}, "cgroup v2"),
    ({"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]}, "podman_gpu"),
    ({"AutoRemove": True}, "podman run --rm"),
    ({"PidMode": "container:abc"}, "into a pod"),
    ({"UsernsMode": "host"}, "userns-remap"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 1}}, "HealthStartupCmd"),
]


@pytest.mark.parametrize(("changes", "words"), NEEDS, ids=[words for _, words in NEEDS])
def test_what_podman_does_otherwise_is_said(survey: Survey, changes: Entry, words: str) -> None:
    (web,) = survey(container(**changes))
    assert len(web["needs"]) == 1
    assert words in web["needs"][0]


def test_volumes_that_go_with_a_container_are_named(survey: Survey) -> None:
    """Docker deletes volumes without a name with what was made with --rm."""
    mounts = [
        {"Type": "volume", "Name": "0a" * 32, "Destination": "/nameless"},
        {"Type": "volume", "Name": "data", "Destination": "/data"},
        {"Type": "bind", "Source": "/srv", "Destination": "/srv"},
    ]
    lasting, passing = survey(
        container("passing", AutoRemove=True, Mounts=mounts), container("lasting", Mounts=mounts)
    )
    assert passing["loses"] == ["0a" * 32]
    assert "Docker deletes its 1 volume without a name" in passing["needs"][1]
    assert lasting["loses"] == []


ARGUMENTS = [
    ({"Memory": 64 << 20, "MemorySwap": 128 << 20}, ["--memory=67108864"]),
    ({"Memory": 64 << 20, "MemorySwap": -1}, ["--memory=67108864", "--memory-swap=-1"]),
    ({"NanoCpus": 1_500_000_000, "PidsLimit": 10}, ["--cpus=1.5", "--pids-limit=10"]),
    ({"ShmSize": 1 << 30}, ["--shm-size=1073741824"]),
    ({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}, ["--ulimit=nofile=1:2"]),
    ({"Privileged": True}, ["--privileged"]),
    ({"PidMode": "host", "IpcMode": "host"}, ["--pid=host", "--ipc=host"]),
    (
        {"Dns": ["10.0.0.1"], "ExtraHosts": ["a:10.1.1.1"]},
        ["--dns=10.0.0.1", "--add-host=a:10.1.1.1"],
    ),
    ({"GroupAdd": ["44"]}, ["--group-add=44"]),
]


@pytest.mark.parametrize(("changes", "arguments"), ARGUMENTS)
def test_what_has_no_key_is_an_argument(
    survey: Survey, changes: Entry, arguments: list[str]
) -> None:
    (web,) = survey(container(**changes))
    assert unit(web)["PodmanArgs"] == arguments


KEYS = [
    ({"NetworkMode": "host"}, "Network", ["host"]),
    ({"CapAdd": ["NET_ADMIN"]}, "AddCapability", ["NET_ADMIN"]),
    ({"ReadonlyRootfs": True}, "ReadOnly", "true"),
    ({"Init": True}, "RunInit", "true"),
    ({"SecurityOpt": ["no-new-privileges"]}, "NoNewPrivileges", "true"),
    ({"SecurityOpt": ["label=disable"]}, "SecurityLabelDisable", "true"),
    ({"Sysctls": {"net.a": "1 2"}}, "Sysctl", ['"net.a=1 2"']),
    ({"Tmpfs": {"/t": "size=1m"}}, "Tmpfs", ["/t:size=1m"]),
    ({"User": "1:2"}, "User", "1"),
    ({"User": "1:2"}, "Group", "2"),
    ({"LogConfig": {"Type": "none"}}, "LogDriver", "none"),
    ({"Runtime": "nvidia", "Env": ["NVIDIA_VISIBLE_DEVICES=0,1"]}, "AddDevice",
     ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
    ({"Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]},
     "AddDevice", ["/dev/a:/dev/b:r"]),
    ({"PortBindings": {"9/udp": [{"HostIp": "::1", "HostPort": "9"}]}}, "PublishPort",
     ["[::1]:9:9/udp"]),
    ({"PortBindings": {"9/tcp": [{"HostIp": "0.0.0.0", "HostPort": "9"},
                                 {"HostIp": "::", "HostPort": "9"}]}}, "PublishPort", ["9:9"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "value"), KEYS)
def test_what_has_a_key_is_said_with_it(
    survey: Survey, changes: Entry, key: str, value: Any
) -> None:
    (web,) = survey(container(**changes))
    assert unit(web)[key] == value


def test_networks_with_addresses_and_names(survey: Survey) -> None:
    networks = {
        "app": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["web", "www"]},
        "back": {"Aliases": None},
    }
    (web,) = survey(container(NetworkMode="app", NetworkSettings={"Networks": networks}))
    assert unit(web)["Network"] == ["app:ip=10.1.0.9,alias=www", "back"]


def bind(source: str, **more: Any) -> Entry:
    return {"Type": "bind", "Source": source, "Destination": "/d", "Mode": "", "RW": True, **more}


def test_bind_mounts_and_selinux(node: DockerNode, survey: Survey) -> None:
    node.folder("/srv/www")
    node.folder("/etc/pki")
    (data,) = survey(container(Mounts=[bind("/srv/www", RW=False)]))
    assert unit(data)["Volume"] == ["/srv/www:/d:ro,z"]
    assert "SecurityLabelDisable" not in unit(data)
    assert "container_file_t" in data["needs"][0]
    (system,) = survey(container(Mounts=[bind("/etc/pki", Propagation="rslave")]))
    assert unit(system)["Volume"] == ["/etc/pki:/d:rslave"]
    assert unit(system)["SecurityLabelDisable"] == "true"
    assert "is the system's" in system["needs"][0]
    (own,) = survey(container(Mounts=[bind("/srv/www", Mode="Z")]))
    assert own["needs"] == []


@pytest.mark.parametrize("source", ["/", "/home", "/home/alice", "/var/lib", "/var/lib/mysql"])
def test_labels_of_the_system_stay(node: DockerNode, survey: Survey, source: str) -> None:
    node.folder(source)
    (web,) = survey(container(Mounts=[bind(source)]))
    assert unit(web)["Volume"] == [f"{source}:/d"]


def test_a_missing_folder_is_named(survey: Survey) -> None:
    (web,) = survey(container(Mounts=[bind("/srv/none")]))
    assert "/srv/none does not exist" in web["needs"][0]


def test_dockers_socket_and_dockers_data(node: DockerNode, survey: Survey) -> None:
    node.folder("/var/lib/docker/containers")
    mounts = [bind("/var/run/docker.sock"), bind("/var/lib/docker/containers")]
    (agent,) = survey(container(Mounts=mounts))
    assert unit(agent)["Volume"][0] == "/run/podman/podman.sock:/d"
    assert "talks to Docker's socket" in agent["needs"][0]
    assert "reads Docker's own data" in agent["needs"][1]


def test_volumes_keep_their_names(survey: Survey) -> None:
    volume = {"Type": "volume", "Name": "data", "Destination": "/d", "Mode": "z", "RW": True}
    (web,) = survey(container(Mounts=[{**volume, "Driver": "local"}]))
    assert web["needs"] == []
    assert unit(web)["Volume"] == ["data:/d"]
    (web,) = survey(container(Mounts=[{**volume, "Driver": "rexray"}]))
    assert "driver rexray" in web["needs"][0]


def test_containers_that_lean_on_others(survey: Survey) -> None:
    lent = {"Type": "volume", "Name": "v", "Destination": "/d", "Mode": "", "RW": True}
    web = container("web", Mounts=[lent])
    side = container("side", NetworkMode=f"container:{web['Id']}")
    heir = container("heir", VolumesFrom=["web:ro"], Mounts=[lent])
    found = {entry["name"]: entry for entry in survey(web, side, heir)}
    assert unit(found["side"])["Network"] == ["container:web"]
    assert found["side"]["quadlet"]["sections"]["Unit"]["Requires"] == "web.service"
    assert "shares the network of web" in found["side"]["needs"][0]
    assert unit(found["heir"])["PodmanArgs"] == ["--volumes-from=web:ro"]
    assert "Volume" not in unit(found["heir"])
    assert "borrows volumes of web" in found["heir"]["needs"][0]


def test_changes_of_the_layer_are_counted(survey: Survey) -> None:
    kinds = {
        "/etc": 0,
        "/etc/a.conf": 1,
        "/etc/b.conf": 1,
        "/d": 0,
        "/d/x": 1,
        "/tmp/t": 1,
        "/d-e": 1,
    }
    changes = [{"Path": path, "Kind": kind} for path, kind in kinds.items()]
    (web,) = survey(container(Mounts=[bind("/srv", Mode="z")]), changes=changes)
    need = web["needs"][-1]
    assert need.startswith("3 paths were changed in its own layer (/d-e, /etc/a.conf, /etc/b.conf)")
    assert "docker commit web" in need


def test_images_without_a_name_and_older_ones(survey: Survey) -> None:
    (web,) = survey(container(), image={**IMAGE, "RepoTags": []})
    assert "docker tag 1a1a1a1a1a1a" in web["needs"][0]
    (web,) = survey(container(), image={**IMAGE, "RepoTags": ["registry.example.org/web:2"]})
    assert "an older image" in web["needs"][0]
    (web,) = survey(container(Image="sha256:gone"))
    assert "is gone" in web["needs"][0]


@pytest.mark.parametrize(
    ("labels", "name", "words"),
    [
        ({"com.docker.swarm.service.name": "svc"}, "svc.1", "swarm service svc"),
        ({"io.kubernetes.pod.name": "p"}, "k8s_p", "CRI-O"),
        ({}, "buildx_buildkit_x0", "buildx"),
    ],
)
def test_containers_of_others_get_no_quadlet(
    survey: Survey, labels: Entry, name: str, words: str
) -> None:
    (found,) = survey(container(name, Labels=labels))
    assert found["quadlet"] == {}
    assert len(found["needs"]) == 1
    assert words in found["needs"][0]
