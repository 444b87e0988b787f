"""A depot: whole releases side by side on a node, one of them current.

`docs/architecture.md`, "A depot", has the layout.
"""

from landbridge.depot.layout import DEFAULT, Layout
from landbridge.depot.receive import receive
from landbridge.depot.reception import Received
from landbridge.depot.releases import Release, current, prune, releases, switch

__all__ = [
    "DEFAULT",
    "Layout",
    "Received",
    "Release",
    "current",
    "prune",
    "receive",
    "releases",
    "switch",
]
