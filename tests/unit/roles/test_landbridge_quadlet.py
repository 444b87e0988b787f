"""What an entry of podman_quadlets becomes, and what is refused."""

from typing import Any

import pytest

from tests.unit.roles.modules import shared

quadlet = shared("landbridge_quadlet")

NEW = (5, 4, 2)
IMAGE = "localhost/tools/web:1"


def entry(**given: Any) -> dict[str, Any]:
    base = {"name": "web", "type": "container", "user": "root", "yaml": ""}
    return {**base, "sections": {"Container": {"Image": IMAGE}}, **given}


def container(**keys: Any) -> dict[str, Any]:
    return entry(sections={"Container": {"Image": IMAGE, **keys}})


def body(entry: dict[str, Any], version: tuple[int, ...] = NEW, bundled: Any = ()) -> str:
    whole: str = quadlet.render(entry, version, bundled)
    assert whole.startswith("# Managed by Landbridge")
    return whole.partition("\n\n")[2]


def judged(*entries: dict[str, Any], users: Any = ("root",), secrets: Any = None) -> str:
    return "\n".join(quadlet.judge(entries, users, secrets or {}))


def test_sections_stay_in_order_and_get_defaults() -> None:
    given = entry(
        sections={
            "Unit": {"Description": "Web"},
            "Container": {"Image": IMAGE, "PublishPort": ["80:80", "81:81"], "ReadOnly": True},
            "Service": {"MemoryMax": "512M", "CPUWeight": 20},
        }
    )
    assert body(given) == (
        "[Unit]\nDescription=Web\n\n"
        f"[Container]\nImage={IMAGE}\nPublishPort=80:80\nPublishPort=81:81\nReadOnly=yes\n"
        "Pull=never\n\n"
        "[Service]\nMemoryMax=512M\nCPUWeight=20\n"
        "TimeoutStartSec=300\nSlice=machine.slice\nRestart=always\nRestartSec=5\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def test_memory_of_a_users_services_is_the_users() -> None:
    assert "Slice" not in body(entry(user="alice"))


def test_what_the_entry_says_wins() -> None:
    sections = {
        "Container": {"Image": IMAGE, "HealthCmd": "true", "Notify": False, "Pull": "missing"},
        "Service": {"Restart": False, "RestartSec": 1, "TimeoutStartSec": 9, "Slice": "x.slice"},
        "Install": {},
    }
    text = body(entry(sections=sections))
    assert "Notify=no\nPull=missing\nHealthOnFailure=kill\n" in text
    assert text.endswith(
        "[Service]\nRestart=no\nRestartSec=1\nTimeoutStartSec=9\nSlice=x.slice\n\n[Install]\n"
    )
    assert not quadlet.is_started(entry(sections=sections))
    assert quadlet.is_started(entry())


def test_a_users_units_start_with_the_users_manager() -> None:
    assert body(entry(user="alice")).endswith("WantedBy=default.target\n")


@pytest.mark.parametrize(
    ("version", "expected"), [((5, 0, 0), {"Notify", "Pull"}), ((4, 6), {"Pull"}), ((4, 5), set())]
)
def test_what_an_older_podman_does_not_know_is_not_written(
    version: tuple[int, ...], expected: set[str]
) -> None:
    lines = body(container(HealthCmd="true"), version).splitlines()
    assert {line.partition("=")[0] for line in lines} & {"Notify", "Pull"} == expected


@pytest.mark.parametrize(
    ("given", "never"),
    [
        (container(), True),
        (container(AutoUpdate="local"), True),
        (container(Image="registry.example.org/a:1"), False),
        (container(Image="registry.example.org/bundled:1"), True),
        (container(Image="registry.example.org/bundled:1", AutoUpdate="registry"), False),
        (container(Image="x.build"), False),
    ],
)
def test_only_images_of_the_node_are_never_pulled(given: dict[str, Any], never: bool) -> None:
    bundled = ["registry.example.org/bundled:1"]
    assert ("Pull=never" in body(given, bundled=bundled)) is never


def test_a_oneshot_does_not_restart() -> None:
    given = entry(sections={"Container": {"Image": IMAGE}, "Service": {"Type": "oneshot"}})
    assert "Restart" not in body(given)


def test_volumes_and_networks_get_nothing() -> None:
    assert body(entry(type="volume", sections={"Volume": None})) == "[Volume]\n"


def test_kube_names_its_yaml() -> None:
    given = entry(type="kube", sections={}, yaml="kind: Pod\n")
    assert body(given).startswith("[Kube]\nYaml=web.yaml\n")
    assert quadlet.service_of(given) == "web.service"
    other = entry(type="kube", sections={"Kube": {"Yaml": "pods.yaml"}}, yaml="kind: Pod\n")
    assert quadlet.yaml_of(other) == "pods.yaml"
    assert quadlet.yaml_of(entry()) == ""


@pytest.mark.parametrize(
    ("kind", "section", "service", "resource"),
    [
        ("container", "Container", "web.service", "systemd-web"),
        ("pod", "Pod", "web-pod.service", "systemd-web"),
        ("network", "Network", "web-network.service", "systemd-web"),
        ("volume", "Volume", "web-volume.service", "systemd-web"),
    ],
)
def test_names(kind: str, section: str, service: str, resource: str) -> None:
    plain = entry(type=kind, sections={section: {}})
    assert (quadlet.service_of(plain), quadlet.resource_of(plain)) == (service, resource)
    keys = {"ServiceName": "other", f"{section}Name": "mine"}
    named = entry(type=kind, sections={section: keys})
    assert quadlet.service_of(named) == "other.service"
    assert quadlet.resource_of(named) == "mine"


def test_good_entries_are_not_judged() -> None:
    keys = {
        "Volume": ["data.volume:/data:Z", "/srv/x:/x"],
        "Network": ["net.network:ip=10.0.0.2"],
        "Secret": ["web-token,type=env,target=TOKEN"],
        "Environment": ["TOKEN_FILE=/run/secrets/web-token", "MONKEY=1", "AWS_ACCESS_KEY_ID=x"],
        "Exec": "httpd -f -p 80",
    }
    volume = entry(name="data", type="volume", sections={"Volume": {}})
    network = entry(name="net", type="network", sections={"Network": {}})
    assert judged(container(**keys), volume, network, secrets={"root": ["web-token"]}) == ""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (entry(name="../x"), "name may have"),
        (entry(name="a@b"), "name may have"),
        (entry(user="alice"), "add the user to podman_rootless_users"),
        (entry(sections={}), "section Container is missing"),
        (entry(sections={"Container": ["Image"]}), "must be a name with keys"),
        (container(**{"Env ironment": 1}), "a key has letters"),
        (container(Exec="a\n[Service]"), "Container.Exec: a value is one line"),
        (container(Exec="a\\"), "Container.Exec: a value is one line"),
        (container(Environment={"A": 1}), "Container.Environment: must be a value"),
        (container(Secret="nix,type=env"), "secret nix is not in podman_secrets for user root"),
        (container(Volume="data.volume:/x"), "Container.Volume names data.volume"),
        (container(Network="net.network"), "Container.Network names net.network"),
        (container(Pod="p.pod"), "Container.Pod names p.pod"),
        (container(Image="x.build"), "Container.Image names x.build"),
        (container(Mount="type=volume,source=d.volume,dst=/x"), "Container.Mount names d.volume"),
        (container(AutoUpdate="yes"), "AutoUpdate is local or registry, not yes"),
        (container(AutoUpdate="registry"), "AutoUpdate must be local"),
        (container(Environment="DB_PASSWORD=x"), "Container.Environment holds what looks like"),
        (container(Environment=["A=1", '"x_api_key=v w"']), "looks like a secret"),
        (container(PodmanArgs="--env API_TOKEN=abc"), "looks like a secret"),
        (container(PodmanArgs="--env=API_TOKEN=abc"), "looks like a secret"),
        (container(Exec="serve --password=abc"), "looks like a secret"),
        (container(Environment="DB=postgres://u:p@db/x"), "an address with a password"),
        (entry(yaml="kind: Pod"), "yaml is for type kube only"),
        (entry(type="kube", sections={}, yaml="kind: Secret\n"), "yaml holds a Secret"),
        (
            entry(type="kube", sections={"Kube": {"Yaml": "/x/y.yaml"}}, yaml="kind: Pod"),
            "must be a plain file name",
        ),
        (
            entry(type="kube", sections={}, yaml="env:\n- name: DB_PASSWORD\n  value: x\n"),
            "use secretKeyRef",
        ),
        (
            entry(type="kube", sections={}, yaml="secretKeyRef:\n  name: nix\n  key: a\n"),
            "secret nix is not in podman_secrets",
        ),
    ],
)
def test_bad_entries(given: dict[str, Any], problem: str) -> None:
    assert problem in judged(given)


def test_names_that_collide() -> None:
    assert "web.container and web.container of root have the same file" in judged(entry(), entry())
    kube = entry(type="kube", sections={}, yaml="kind: Pod\n")
    assert "web.container and web.kube of root have the same unit, web.service" in judged(
        entry(), kube
    )
    pod = entry(type="pod", sections={"Pod": {}})
    assert "the same name in Podman, systemd-web" in judged(entry(), pod)
    assert judged(entry(), entry(user="alice"), users=("root", "alice")) == ""


def test_references_are_the_users_own() -> None:
    volume = entry(name="data", type="volume", user="alice", sections={"Volume": {}})
    both = (container(Volume="data.volume:/x"), volume)
    assert "no entry of user root" in judged(*both, users=("root", "alice"))
