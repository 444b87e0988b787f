"""What the hub's pages tell users: the site's banner, and how to work here."""

import json
import re
from html import escape
from pathlib import Path

from landbridge_hub import profiles


def configure(c, values, templates):
    """Put banner and guide on the pages.

    Args:
        c: the hub's configuration so far.
        values: the node's.
        templates: directory of the hub's pages.
    """
    kernels = Path(values["jupyter_path"], "kernels")
    c.JupyterHub.template_paths = [*c.JupyterHub.get("template_paths", []), templates]
    c.JupyterHub.template_vars = {
        **c.JupyterHub.get("template_vars", {}),
        # The hub's page takes it for HTML.
        "announcement": escape(values["banner"]),
        "landbridge_guide": {
            "contact": values["contact"],
            "link": link(values["contact"]),
            "depot": values["depot"],
            "limits": limits(values),
            # Asked for each page: environments come and go while the hub runs.
            "kernels": lambda: kernel_names(kernels),
        },
    }


def kernel_names(folder):
    """Display names of the kernelspecs in a folder; those that cannot be read are left out."""
    names = []
    for file in folder.glob("*/kernel.json"):
        try:
            names.append(json.loads(file.read_text())["display_name"])
        except (OSError, ValueError, KeyError):
            continue
    return sorted(names)


def link(contact):
    """Where a contact leads; nothing where it is mere text."""
    if re.fullmatch(r"https?://\S+", contact):
        return contact
    return f"mailto:{contact}" if re.fullmatch(r"[^@\s:/]+@[^@\s:/]+", contact) else ""


def limits(values):
    """What holds for a server, in sentences."""
    whole = {"memory": values["memory_limit"], "cpu": values["cpu_limit"], "devices": []}
    said = [f"Your server has {profiles.described(whole)}."]
    if values["profiles"]:
        sizes = (f"{p['name']} ({profiles.described(whole | p)})" for p in values["profiles"])
        said = [f"Sizes of servers, as far as you are given them: {'; '.join(sizes)}."]
    if idle := values["cull_idle_seconds"]:
        said.append(f"It is stopped after {minutes(idle)} without a page open or a kernel at work.")
    if kernel := values["cull_kernel_seconds"]:
        said.append(
            f"A kernel that no page shows is shut down after {minutes(kernel)} without work."
        )
    if age := values["cull_max_age_seconds"]:
        said.append(f"It is stopped {minutes(age)} after its start, also at work.")
    if named := values["named_servers"]:
        said.append(f"You may have {named} more, each with a name, beside the first.")
    return said


def minutes(seconds):
    """A time in hours and minutes."""
    hours, left = divmod(round(seconds / 60), 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{left} min"] * bool(left or not hours)
    return " ".join(parts)
