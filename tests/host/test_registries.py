"""Where images come from."""

import tomllib

from landbridge.facts.node import Node


def test_short_image_names_search_nowhere(node: Node) -> None:
    text = node.output("cat", "/etc/containers/registries.conf.d/50-landbridge.conf")
    settings = tomllib.loads(text)
    assert settings["unqualified-search-registries"] == []
    assert all(registry["blocked"] for registry in settings["registry"])
    assert "docker.io" in {registry["prefix"] for registry in settings["registry"]}
