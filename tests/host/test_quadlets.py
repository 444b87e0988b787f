"""Services as quadlets: they run, are healthy, start at boot, and show no secret."""

import re
from typing import Any

from landbridge.facts.node import Node

ENDINGS = {kind: f"-{kind}" for kind in ("pod", "network", "volume", "image", "build")}
# As the role refuses them, but in the file itself, for a hand may have been at it.
SECRET = re.compile(
    r"(?im)((?!^Secret=)\b\w*(password|passwd|passphrase|token|secret|credential|api_?key)=(?!/)[^\s,]+"
    r"|://[^/\s:@]+:[^/\s@]+@)"
)
# What systemd makes of a limit, by key.
BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
MEMORY = ("MemoryMax", "MemoryHigh")
TIMER = "podman-auto-update.timer"


def sections(quadlet: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entry's sections, without empty ones."""
    return {name: keys for name, keys in quadlet.get("sections", {}).items() if keys}


def kind(quadlet: dict[str, Any]) -> str:
    return str(quadlet.get("type", "container"))


def owner(quadlet: dict[str, Any]) -> str:
    return str(quadlet.get("user", "root"))


def service(quadlet: dict[str, Any]) -> str:
    """The name of its unit."""
    own = sections(quadlet).get(kind(quadlet).capitalize(), {})
    name = own.get("ServiceName", quadlet["name"] + ENDINGS.get(kind(quadlet), ""))
    return f"{name}.service"


def folder(node: Node, quadlet: dict[str, Any]) -> str:
    """Where its file is."""
    if owner(quadlet) == "root":
        return "/etc/containers/systemd"
    uid = node.output("id", "-u", owner(quadlet)).strip()
    return f"/etc/containers/systemd/users/{uid}"


def run(node: Node, quadlet: dict[str, Any], *command: str) -> str:
    """Output of a command run as the quadlet's user, with the user's bus."""
    user = None if owner(quadlet) == "root" else owner(quadlet)
    return node.output(*command, user=user)


def shown(node: Node, quadlet: dict[str, Any], *properties: str) -> dict[str, str]:
    """Properties of its unit."""
    scope = [] if owner(quadlet) == "root" else ["--user"]
    wanted = f"--property={','.join(properties)}"
    said = run(node, quadlet, "systemctl", *scope, "show", wanted, service(quadlet))
    return dict(line.split("=", 1) for line in said.splitlines())


def expected(key: str, value: object) -> tuple[str, str]:
    """A limit's property and value, as systemctl shows them; empty for keys that are no limits."""
    text = str(value)
    if key in MEMORY and (match := re.fullmatch(r"(\d+)([KMGT]?)", text)):
        return key, str(int(match[1]) * BYTES.get(match[2], 1))
    if key == "CPUQuota":
        hundredths = int(text.removesuffix("%"))
        whole, rest = divmod(hundredths * 10, 1000)
        return "CPUQuotaPerSecUSec", f"{whole}s" if not rest else f"{hundredths * 10}ms"
    return (key, text) if key == "TasksMax" and text.isdigit() else ("", "")


def test_unit_runs(node: Node, quadlet: dict[str, Any]) -> None:
    state = shown(node, quadlet, "LoadState", "ActiveState", "Result", "Type", "SourcePath")
    assert state["LoadState"] == "loaded"
    file = f"{folder(node, quadlet)}/{quadlet['name']}.{kind(quadlet)}"
    assert state["SourcePath"] == file, "the unit is somebody else's"
    assert state["Result"] == "success"
    if state["Type"] != "oneshot" and quadlet.get("sections", {}).get("Install", True):
        assert state["ActiveState"] == "active"


def test_file_is_roots_and_holds_no_secret(node: Node, quadlet: dict[str, Any]) -> None:
    name = f"{folder(node, quadlet)}/{quadlet['name']}"
    files = [f"{name}.{kind(quadlet)}"]
    if quadlet.get("yaml"):
        own = sections(quadlet).get("Kube", {})
        files.append(f"{folder(node, quadlet)}/{own.get('Yaml', quadlet['name'] + '.yaml')}")
    for file in files:
        mode = node.output("stat", "--format=%U %G %a", file).split()
        assert mode == ["root", "root", "644"], f"{file} is {mode}"
        found = SECRET.search(node.output("cat", file))
        assert found is None, f"{file} holds what looks like a secret"


def test_healthy(node: Node, checked_quadlet: dict[str, Any]) -> None:
    own = sections(checked_quadlet)["Container"]
    name = own.get("ContainerName", f"systemd-{checked_quadlet['name']}")
    template = "{{.State.Health.Status}}"
    command = ["podman", "container", "inspect", "--format", template, name]
    assert run(node, checked_quadlet, *command).strip() == "healthy"


def test_limits(node: Node, limited_quadlet: dict[str, Any]) -> None:
    keys = sections(limited_quadlet)["Service"]
    wanted = dict(expected(key, value) for key, value in keys.items())
    wanted.pop("", None)
    assert shown(node, limited_quadlet, *wanted, "Id") == {
        **wanted,
        "Id": service(limited_quadlet),
    }


def test_published_ports_answer(node: Node, publishing_quadlet: dict[str, Any]) -> None:
    own = sections(publishing_quadlet)[kind(publishing_quadlet).capitalize()]
    for published in words(own["PublishPort"]):
        match = re.fullmatch(r"(?:([\d.]+):)?(\d+):\d+(?:/tcp)?", published)
        if match:  # others are ranges, IPv6, UDP, or ports that Podman chooses
            address = f"/dev/tcp/{match[1] or '127.0.0.1'}/{match[2]}"
            node.output("timeout", "5", "bash", "-c", f"exec 3<>{address}")


def test_starts_at_boot(node: Node, running_quadlet: dict[str, Any]) -> None:
    own = sections(running_quadlet).get("Install", {})
    usual = "multi-user.target" if owner(running_quadlet) == "root" else "default.target"
    wanted = {word for key in ("WantedBy", "RequiredBy") for word in words(own.get(key, []))}
    state = shown(node, running_quadlet, "WantedBy", "RequiredBy")
    assert (wanted if own else {usual}) <= set(" ".join(state.values()).split())


def words(value: object) -> list[str]:
    """Words of a key that may be repeated."""
    return " ".join(map(str, value)).split() if isinstance(value, list) else str(value).split()


def test_secrets_are_podmans(node: Node, secretive_quadlet: dict[str, Any]) -> None:
    named = sections(secretive_quadlet)["Container"]["Secret"]
    names = {value.split(",")[0] for value in (named if isinstance(named, list) else [named])}
    listed = run(node, secretive_quadlet, "podman", "secret", "ls", "--format", "{{.Name}}")
    assert names <= set(listed.split())


def test_updates_are_due_as_promised(node: Node, updated_quadlet: dict[str, Any]) -> None:
    wanted = bool(node.promised("podman")["auto_update_calendar"])
    scope = [] if owner(updated_quadlet) == "root" else ["--user"]
    command = ["systemctl", *scope, "show", "--property=ActiveState", TIMER]
    state = run(node, updated_quadlet, *command).strip().removeprefix("ActiveState=")
    assert (state == "active") is wanted
