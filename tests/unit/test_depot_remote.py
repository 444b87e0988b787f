"""A depot that mirrors another one, and the images of releases as files of the distribution API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from landbridge import depot as depots
from landbridge.bundle import manifest
from landbridge.depot import Received, receive
from landbridge.errors import BundleError, InputError, SourceError
from tests.unit import fault_server
from tests.unit.bundle_maker import Maker, contents, noise
from tests.unit.depot_desk import Desk
from tests.unit.fault_server import Source
from tests.unit.roles.oci_layout import put, write_layout

C = "conda/noarch/c.conda"


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


@pytest.fixture
def web() -> Iterator[Source]:
    with fault_server.source() as server:
        yield server


def publish(web: Source, bundle: Path) -> str:
    """Serve a bundle as `current` and by its release; returns the latter's path."""
    release = f"/landbridge/releases/{manifest.read_manifest(bundle)[0]}"
    for path, data in contents(bundle).items():
        web.files |= {f"/landbridge/current/{path}": data, f"{release}/{path}": data}
    return release


def mirror(desk: Desk, web: Source, place: str = "current") -> Received:
    url = f"{web.url}/landbridge/{place}"
    return receive([url], desk.depot, [desk.maker.trusted], say=desk.said.append)


def test_a_mirror_takes_what_it_lacks_and_nothing_else(desk: Desk, web: Source) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", {"n.whl": noise("n", 9000)}, day=2)
    desk.receive(old)
    release = publish(web, new)
    received = mirror(desk, web)
    assert contents(desk.release(new)) == contents(new)
    assert desk.is_current(new)
    assert (desk.release(new) / "bootstrap.sh").stat().st_mode & 0o777 == 0o755
    assert web.gets(f"{release}/n.whl")
    assert [one.path for one in web.asked if one.path.endswith(C)] == []
    assert (received.linked, received.copied < 10_000) == (12, True)
    assert list((desk.depot / "incoming").iterdir()) == []
    assert mirror(desk, web).present


def test_a_mirror_goes_on_where_it_was_interrupted(desk: Desk, web: Source) -> None:
    bundle = desk.bundle("one")
    path = f"{publish(web, bundle)}/{C}"
    web.script[path] = [fault_server.truncated(2_000_000), fault_server.status(403)]
    with pytest.raises(SourceError, match="what came is kept") as fault:
        mirror(desk, web)
    assert "HTTP 403" in str(fault.value)
    assert depots.current(desk.depot) is None
    mirror(desk, web)
    assert web.spans(path) == [None, "bytes=2000000-", "bytes=2000000-"]
    assert contents(desk.release(bundle)) == contents(bundle)


def test_a_mirror_refuses_what_the_manifest_does_not_promise(desk: Desk, web: Source) -> None:
    path = f"{publish(web, desk.bundle('one'))}/{C}"
    good = web.files[path]
    web.files[path] = good[:-1] + b"x"
    with pytest.raises(SourceError, match="sha256"):
        mirror(desk, web)
    assert depots.current(desk.depot) is None
    web.files[path] = good
    assert mirror(desk, web).switched


def test_a_mirror_believes_no_stranger(desk: Desk, web: Source) -> None:
    publish(web, desk.maker.bundle(desk.folder / "one", owner="stranger"))
    with pytest.raises(BundleError, match="unknown"):
        mirror(desk, web)
    assert {one.path.rpartition("/")[2] for one in web.asked} == {
        "manifest.json",
        "manifest.json.asc",
    }


def test_a_mirror_takes_a_release_by_its_name(desk: Desk, web: Source) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", {"n.whl": b"n"}, day=2)
    release = publish(web, old)
    publish(web, new)
    mirror(desk, web, release.removeprefix("/landbridge/"))
    assert desk.is_current(old)


def test_one_url_at_a_time(desk: Desk) -> None:
    with pytest.raises(InputError, match="is not all that was given"):
        receive(["https://depot/landbridge/current", desk.folder], desk.depot)


# --- images ----------------------------------------------------------------------------------


def with_images(desk: Desk, name: str, day: int, **texts: bytes) -> tuple[Path, list[str]]:
    """A bundle with images, and their digests."""
    layout = desk.folder / f"layout-{name}"
    (layout / "blobs").mkdir(parents=True)
    digests = [image["digest"] for image in write_layout(layout, **texts)]
    files = {f"images/{path}": data for path, data in contents(layout).items()}
    return desk.bundle(name, dict(files), day=day), digests


def manifests(desk: Desk) -> dict[str, bytes]:
    return contents(desk.depot / "registry" / "manifests")


def test_images_of_all_releases_are_files_of_the_distribution_api(desk: Desk) -> None:
    old, (first,) = with_images(desk, "old", 1, tool=b"one")
    new, (second,) = with_images(desk, "new", 2, tool=b"two")
    desk.receive(old)
    desk.receive(new)
    found = manifests(desk)
    place = "localhost/tools/tool"
    assert set(found) == {f"{place}/{reference}.oci-manifest" for reference in ("1", first, second)}
    assert found[f"{place}/1.oci-manifest"] == found[f"{place}/{second}.oci-manifest"]
    for layer in json.loads(found[f"{place}/{first}.oci-manifest"])["layers"]:
        blob = desk.depot / "registry/blobs" / layer["digest"].removeprefix("sha256:")
        assert blob.stat().st_size == layer["size"]
    depots.switch(desk.depot, manifest.read_manifest(old)[0], allow_downgrade=True)
    assert manifests(desk)[f"{place}/1.oci-manifest"] == found[f"{place}/{first}.oci-manifest"]


def test_images_go_with_their_release(desk: Desk) -> None:
    old, (first,) = with_images(desk, "old", 1, tool=b"one")
    desk.receive(old)
    desk.receive(desk.bundle("none", day=2))
    assert f"localhost/tools/tool/{first}.oci-manifest" in manifests(desk)
    depots.prune(desk.depot, keep=1)
    assert not list((desk.depot / "registry").iterdir())


def test_an_image_for_several_platforms_has_their_manifests(desk: Desk) -> None:
    layout = desk.folder / "layout"
    (layout / "blobs").mkdir(parents=True)
    (image,) = write_layout(layout, tool=b"one")
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    listed = put(layout, json.dumps({"manifests": [entry]}).encode(), "index.v1+json")
    listed["annotations"] = entry["annotations"]
    (layout / "index.json").write_text(json.dumps({"manifests": [listed]}))
    files = {f"images/{path}": data for path, data in contents(layout).items()}
    desk.receive(desk.bundle("one", dict(files)))
    place = "localhost/tools/tool"
    assert set(manifests(desk)) == {
        f"{place}/1.oci-index",
        f"{place}/{listed['digest']}.oci-index",
        f"{place}/{image['digest']}.oci-manifest",
    }


def test_a_damaged_layout_is_named(desk: Desk) -> None:
    with pytest.raises(BundleError, match=r"index\.json: damaged"):
        desk.receive(desk.bundle("one", {"images/index.json": b"{}", "images/blobs/sha256/a": b""}))
