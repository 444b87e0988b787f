"""How fast is a site library from built packages, against R's own compiling? On a lab node.

Usage: .venv/bin/python benchmarks/r.py [--platform el9|el10] [--runs N] [--json]
The node is booted for it and deleted at the end. Both sides install the site library of the lab's
bundle into an empty directory: role r's module from what was compiled at bundle time, and
install.packages() with two processes from the sources of the same depot. The lab's R compiles
without optimisation (tests/lab/r_makeconf.py): where that is on, sources take longer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.lab import bundle as lab_bundle  # noqa: E402
from tests.lab import inventory, nodes, podman  # noqa: E402
from tests.lab.platforms import PLATFORMS  # noqa: E402

BIN = Path(sys.executable).parent
NODE = "bench-r"
TAGS = "preflight,toolkit,repositories,r"
FROM_SOURCE = """
names <- commandArgs(TRUE)[-(1:2)]
dir.create(commandArgs(TRUE)[1])
options(install.packages.check.source = "no")
install.packages(names, lib = commandArgs(TRUE)[1], repos = commandArgs(TRUE)[2], Ncpus = 2L,
                 dependencies = FALSE, quiet = TRUE)
lacking <- setdiff(names, rownames(installed.packages(commandArgs(TRUE)[1])))
if (length(lacking)) stop("not installed: ", paste(lacking, collapse = " "))
"""


@dataclass(frozen=True)
class Figure:
    """Seconds of both sides; `ratio` is how many times faster ours is."""

    what: str
    binaries: float
    source: float
    ratio: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", choices=list(PLATFORMS), default="el9")
    parser.add_argument("--runs", type=int, default=3, help="of the module; sources compile once")
    parser.add_argument("--json", action="store_true", help="print the figure as JSON")
    arguments = parser.parse_args()
    try:
        figure = measure(arguments.platform, arguments.runs)
    finally:
        nodes.destroy(NODE)
    if arguments.json:
        print(json.dumps(asdict(figure), indent=2))
        return
    print(
        f"{figure.what}: {figure.binaries:.1f} s from built packages; "
        f"baseline: install.packages(Ncpus = 2) {figure.source:.1f} s; ratio {figure.ratio:.1f}"
    )


def measure(platform: str, runs: int) -> Figure:
    """Both sides on one node, one after the other."""
    bundle = lab_bundle.build()
    content = json.loads((bundle / "content.json").read_text())["r"]
    packages = content["packages"]
    nodes.create(NODE, platform, bundle)
    with tempfile.TemporaryDirectory() as folder:
        hosts = inventory.write(Path(folder, "inventory.yml"), [NODE])
        prepare(hosts)
        ours = statistics.median(
            from_binaries(hosts, content, PLATFORMS[platform].target, number)
            for number in range(runs)
        )
    theirs = from_source([package["name"] for package in packages])
    version = content["versions"][PLATFORMS[platform].target][0]
    what = f"site library of {len(packages)} packages, R {version}, {platform}"
    return Figure(what, ours, theirs, theirs / ours)


def prepare(hosts: Path) -> None:
    """R, its compilers and what packages need, by the roles themselves."""
    options = ["--inventory", hosts, "--tags", TAGS, "--extra-vars", "r_build_tools=true"]
    run(BIN / "landbridge", "apply", *options)


def from_binaries(hosts: Path, content: dict[str, Any], target: str, number: int) -> float:
    """Seconds of the module with an empty directory, its way over SSH included."""
    (path,) = content["binaries"][target].values()
    depot = nodes.BUNDLE_MOUNT
    arguments = {
        "packages": [
            {key: package[key] for key in ("name", "version", "requires")}
            for package in content["packages"]
        ],
        "repository": f"{depot}/cran",
        "binaries": f"{depot}/{path}",
        "target": target,
        "root": f"/opt/bench/{number}",
    }
    role = ROOT / "roles" / "r"
    environment = {
        "ANSIBLE_LIBRARY": str(role / "library"),
        "ANSIBLE_MODULE_UTILS": str(role / "module_utils"),
    }
    words = ["--module-name", "landbridge_r_packages", "--args", json.dumps(arguments)]
    start = time.perf_counter()
    said = run(BIN / "ansible", "--inventory", hosts, NODE, *words, **environment)
    taken = time.perf_counter() - start
    if '"source"' in said or "CHANGED" not in said:
        raise SystemExit(f"not everything came from built packages:\n{said}")
    return taken


def from_source(names: list[str]) -> float:
    """Seconds of R's own command with an empty directory."""
    script = ["Rscript", "--vanilla", "-e", FROM_SOURCE]
    arguments = ["/opt/bench/source", f"file://{nodes.BUNDLE_MOUNT}/cran", *names]
    start = time.perf_counter()
    podman.run("exec", "--env", "TMPDIR=/var/tmp", NODE, *script, *arguments)
    return time.perf_counter() - start


def run(*words: str | Path, **environment: str) -> str:
    """Run a command of the checkout and return its output; it is shown if it fails."""
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
