"""Image stores: where they are, what is in them, and who reads them."""

import json
from typing import Any

from landbridge.facts.node import Node

MARK = "# Managed by Landbridge"


def info(node: Node, user: str | None = None) -> dict[str, Any]:
    """What Podman says of its storage."""
    said: dict[str, Any] = json.loads(node.output("podman", "info", "--format", "json", user=user))
    return said["store"]


def stored(node: Node, user: str | None = None) -> dict[tuple[str, bool], set[str]]:
    """Digests by name and whether the image is in a read-only store."""
    listed = json.loads(node.output("podman", "image", "ls", "--format", "json", user=user))
    found: dict[tuple[str, bool], set[str]] = {}
    for image in listed or []:
        digests = {image["Digest"], *(d.split("@")[-1] for d in image.get("RepoDigests") or [])}
        for name in image.get("Names") or []:
            found.setdefault((name, bool(image.get("ReadOnly"))), set()).update(digests)
    return found


def sharing(node: Node) -> list[str]:
    """Users who read the shared store; one with a storage.conf of their own has copies."""
    promised = node.promised("podman")
    if not promised["shared_image_store"]:
        return []
    users = [user["name"] for user in promised["rootless_users"] if user.get("images", True)]
    homes = {user: node.output("getent", "passwd", user).split(":")[5] for user in users}
    conf = "{}/.config/containers/storage.conf"
    return [u for u in users if node.run("grep", "-q", MARK, conf.format(homes[u])).rc == 0]


def listed_in(node: Node, store: str, user: str | None = None) -> dict[str, str]:
    """Digests by name, from the list of a store."""
    text = node.output("cat", f"{store}/overlay-images/images.json", user=user)
    return {name: i["digest"] for i in json.loads(text) for name in i.get("names") or []}


def test_store_is_where_and_how_it_was_promised(node: Node, podman: str) -> None:  # noqa: ARG001
    promised, store = node.promised("podman"), info(node)
    assert store["graphRoot"] == promised["graphroot"]
    assert store["graphDriverName"] == promised["storage_driver"]


def test_image_is_the_bundles(node: Node, image: dict[str, Any]) -> None:
    found = [i for i in node.facts.images if image["name"] in i.names]
    assert found, f"{image['name']} is not in root's storage"
    digests = {found[0].digest, *(d.split("@")[-1] for d in found[0].digests)}
    assert image["digest"] in digests


def test_user_has_the_bundles_images(node: Node, image_user: dict[str, Any]) -> None:
    there = stored(node, image_user["name"])
    read_only = image_user["name"] in sharing(node)
    for image in node.promised("podman")["images"]:
        assert image["digest"] in there.get((image["name"], read_only), set()), image["name"]


def first(node: Node, store: str, *tests: str) -> str:
    """The first file of a store for which `find` says yes to the tests; empty for none."""
    return node.output("find", store, "-xdev", *tests, "-print", "-quit").strip()


def test_shared_store_is_anybodys_to_read_and_nobodys_to_write(
    node: Node, shared_store: str, user: str
) -> None:
    there = listed_in(node, shared_store, user)
    wanted = {image["name"]: image["digest"] for image in node.promised("podman")["images"]}
    assert wanted.items() <= there.items()
    assert first(node, shared_store, "-type", "d", "-not", "-perm", "-055") == ""
    assert first(node, shared_store, "-type", "f", "-not", "-perm", "-044") == ""
    assert first(node, shared_store, "-not", "-type", "l", "-perm", "/022") == ""
    assert first(node, shared_store, "-not", "-user", "root") == ""


def test_who_reads_the_shared_store_has_no_copies(node: Node, shared_store: str) -> None:
    there = set(listed_in(node, shared_store))
    brought = json.loads(node.output("cat", "/var/lib/landbridge/podman/images.json"))["users"]
    for user in sharing(node):
        assert set(brought[user]) & there == set(), user


def test_images_of_the_shared_store_run_with_their_owners(node: Node, shared_store: str) -> None:
    # What fuse-overlayfs has no attribute for is nobody's.
    script = "stat -L -c %u /bin"
    for image in listed_in(node, shared_store):
        for user in sharing(node):
            argv = ["podman", "run", "--rm", "--network=none", image, "sh", "-c", script]
            assert node.output(*argv, user=user).strip() == "0", user


def test_images_of_an_additional_store_are_seen(node: Node, image_store: str) -> None:
    names = set(listed_in(node, image_store))
    users = [user["name"] for user in node.promised("podman")["rootless_users"]]
    for user in [None, *users]:
        assert names <= {name for name, read_only in stored(node, user) if read_only}, user


def test_storage_conf_is_the_roles(node: Node, podman: str) -> None:  # noqa: ARG001
    text = node.output("cat", "/etc/containers/storage.conf")
    assert text.startswith(MARK)
    for store in node.promised("podman")["additional_image_stores"]:
        assert f'"{store}"' in text
