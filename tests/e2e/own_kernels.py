"""A user's own environments, and what kernels of the user's server answer, for stories."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.conftest import ROOT, Ended, LabNode
from tests.lab import conda_client, nodes, podman

STACK_PYTHON = "/opt/landbridge/envs/datascience/current/bin"
HUB_PYTHON = "/opt/landbridge/envs/jupyterhub/current/bin/python"
CLIENT = "/srv/conda-client"
CHANNEL = f"{nodes.BUNDLE_MOUNT}/now/conda"
SESSION = ROOT / "tests" / "host" / "on_node" / "hub_session.py"
# What a kernel does not need, so that the environment is made in a moment.
LEFT_OUT = "numpy|narwhals|scipy|scikit-learn|pandas|matplotlib-base|rpy2[a-z-]*|fonttools|pillow"
# As the guide tells users; then what is no kernel: without ipykernel, broken, and no environment.
MAKE = f"""
set -e
export PATH={STACK_PYTHON}:$PATH
python -m venv --system-site-packages ~/envs/mine
~/envs/mine/bin/pip install tabulate
python -m venv --without-pip ~/envs/bare
python -m venv --without-pip --system-site-packages ~/.virtualenvs/broken
ln -sf /nowhere/python ~/.virtualenvs/broken/bin/python
mkdir -p ~/envs/data
grep -v '^# ' {CHANNEL}/envs/datascience.linux-64.txt | grep -vE '/({LEFT_OUT})-' \
  | sed 's,^\\([a-z].*\\)#.*,file://{CHANNEL}/\\1,' > explicit.txt
PYTHONPATH={CLIENT}/lib/python3.11/site-packages CONDA_NO_PLUGINS=true \
  python {CLIENT}/conda.py create --offline --yes --prefix ~/elsewhere/conda --file explicit.txt
Rscript -e 'install.packages("fansi")'
"""
# Runs cells in kernels of a server: of those that run by their id, of new ones by their name.
CELLS = """
import asyncio, json, sys
sys.path.insert(0, "/root")
from hub_session import Server
url, user, token, cells = json.loads(sys.argv[1])
server, answers = Server(url, user, token, None), []
running = {kernel["id"] for kernel in server.call("GET", "/kernels")}
for which, source in cells:
    id = which if which in running else server.call("POST", "/kernels", {"name": which})["id"]
    answers.append({"id": id, **asyncio.run(asyncio.wait_for(server.execute(id, source), 90))})
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Server:
    """A user's server that runs, with a token of the user's."""

    node: LabNode
    user: str
    token: str

    def run(self, *cells: tuple[str, str]) -> list[dict[str, Any]]:
        """What cells print, each in a new kernel of a name or in a running one of an id."""
        asked = json.dumps(["http://127.0.0.1:8000", self.user, self.token, cells])
        ended = self.node.run(
            f"cat > /root/hub_session.py <<'EOT'\n{SESSION.read_text()}\nEOT\n"
            f"{HUB_PYTHON} -c {shlex.quote(CELLS)} {shlex.quote(asked)}"
        )
        assert ended.code == 0, ended.output
        answers: list[dict[str, Any]] = json.loads(ended.output.splitlines()[-1])
        assert [answer["status"] for answer in answers] == ["ok"] * len(cells), answers
        return answers


def put_conda(node: LabNode) -> None:
    """A conda client, which the lab's channel lacks."""
    podman.run("cp", Path(conda_client.command()[1]).parent, f"{node.name}:{CLIENT}")


def make(node: LabNode, user: str) -> Ended:
    """A user makes environments and installs packages, as the guide says."""
    return node.run(f"runuser -l {user} -c {shlex.quote(MAKE)}")
