"""The depot serves its current release over HTTPS, and nothing that is not for nodes."""

from typing import Any

from landbridge.facts.node import Node


def answer(node: Node, served: dict[str, Any], path: str) -> str:
    """Status of a GET; its own certificate is what the depot is known by."""
    url = f"https://localhost:{served['port']}{path}"
    words = ["curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out"]
    return node.output(*words, "%{http_code}", url)


def test_it_runs_and_starts_with_the_node(node: Node, served: dict[str, Any]) -> None:
    assert served["certificate"].startswith("/")
    assert node.output("systemctl", "is-active", "landbridge-depot.service").strip() == "active"
    assert node.output("systemctl", "is-enabled", "landbridge-depot.service").strip() == "enabled"


def test_it_mirrors_by_the_clock_and_the_last_time_went_well(node: Node, mirror: str) -> None:
    assert node.output("systemctl", "is-active", f"{mirror}.timer").strip() == "active"
    assert node.output("systemctl", "is-enabled", f"{mirror}.timer").strip() == "enabled"
    show = ("systemctl", "show", "--value", "--property=Result", f"{mirror}.service")
    assert node.output(*show).strip() == "success"


def test_the_current_release_is_served(node: Node, served: dict[str, Any]) -> None:
    wanted = "200" if served["readers"] == "everyone" else "401"
    for path in ("/landbridge/current/manifest.json", "/v2/"):
        assert answer(node, served, path) == wanted


def test_nothing_else_is_served(node: Node, served: dict[str, Any]) -> None:
    for path in ("/", "/landbridge/", "/landbridge/incoming/", "/landbridge/reports/"):
        assert answer(node, served, path) in ("403", "404")
    assert answer(node, served, "/landbridge/reports/any.json") == "405"
