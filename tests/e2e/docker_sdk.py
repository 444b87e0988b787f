"""Runs on a node: what a program does with Docker's SDK for Python, and what it sees, as JSON."""

import io
import json
import sys
import tarfile
import time

import docker

IMAGE, BUILT, NAME = sys.argv[1], "localhost/sdk/app:1", "sdk-app"
DOCKERFILE = f"FROM {IMAGE}\nRUN echo built > /built\n"


def archive(name: str, data: bytes) -> bytes:
    """A tar archive of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def refusal(client: docker.DockerClient, image: str) -> str:
    """What is said of an image of a closed registry; old servers say it while they stream."""
    try:
        lines = list(client.api.pull(image, tag="1", stream=True, decode=True))
    except docker.errors.APIError as error:
        return str(error)
    return " ".join(str(line.get("error", "")) for line in lines)


def story(client: docker.DockerClient) -> dict[str, object]:
    """Build, run, look, move files, stop, remove; what was seen on the way."""
    seen: dict[str, object] = {}
    start = time.time()
    image, _log = client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), tag=BUILT, rm=True)
    seen["built"] = client.containers.run(image, ["cat", "/built"], remove=True).decode()
    network, volume = client.networks.create("sdk-net"), client.volumes.create("sdk-data")
    container = client.containers.run(
        image,
        ["sh", "-c", "echo ready; exec sleep 1000"],
        detach=True,
        name=NAME,
        network=network.name,
        volumes={volume.name: {"bind": "/data", "mode": "rw"}},
    )
    seen["log"] = next(iter(container.logs(stream=True, follow=True))).decode()
    seen["exec"] = container.exec_run(["sh", "-c", "echo kept > /data/x; cat /data/x"]).output
    container.put_archive("/", archive("sent", b"across"))
    chunks, _stat = container.get_archive("/sent")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        seen["copied"] = tar.extractfile("sent").read()
    container.reload()
    seen["status"] = container.status
    seen["networks"] = list(container.attrs["NetworkSettings"]["Networks"])
    seen["mounts"] = [mount["Name"] for mount in container.attrs["Mounts"]]
    seen["listed"] = [each.name for each in client.containers.list()]
    container.stop(timeout=0)
    container.wait()
    container.remove()
    network.remove()
    volume.remove()
    asked = {"since": start, "until": time.time() + 1, "filters": {"container": NAME}}
    seen["events"] = [event["Action"] for event in client.events(decode=True, **asked)]
    data = b"".join(image.save(named=True))
    client.images.remove(BUILT)
    seen["loaded"] = [tag for loaded in client.images.load(data) for tag in loaded.tags]
    client.images.remove(BUILT)
    seen["left"] = [each.name for each in client.containers.list(all=True)]
    seen["left"] += [each.name for each in client.volumes.list()]
    return seen


client = docker.from_env()
seen = {"host": client.api.base_url, **story(client), "refused": refusal(client, sys.argv[2])}
print(json.dumps(seen, default=bytes.decode))
