"""Every user's server: kernels, what JupyterLab has besides, what users are told."""

import json
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here))

from landbridge_user.kernels import UsersKernels, WorkingKernels  # noqa: E402 - see above

values = json.loads((here / "values.json").read_text())

c = get_config()  # noqa: F821 - Jupyter puts it here

c.ServerApp.kernel_manager_class = WorkingKernels
c.ServerApp.kernel_spec_manager_class = UsersKernels
c.UsersKernels.managed = values["environments"]
c.KernelSpecManager.ensure_native_kernel = False

# Nothing is fetched: extensions come with the environment.
c.LabApp.extension_manager = "readonly"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

# Banner and notices, and the way to the guide.
c.LabApp.extra_labextensions_path = [str(here / "labextensions")]
c.ServerApp.jpserver_extensions = {"landbridge_user.notices": True}

# Completion and checks know the packages of the notebooks' environment, not the server's own.
jedi = Path(sys.prefix, "bin/jedi-language-server")
if values["python"] and jedi.exists():
    c.LanguageServerManager.language_servers = {
        "jedi-language-server": {
            "version": 2,
            "argv": [str(jedi)],
            "languages": ["python"],
            "mime_types": ["text/python", "text/x-ipython"],
            "display_name": "jedi-language-server",
            "env": {"CONDA_PREFIX": values["python"], "PYTHONUNBUFFERED": "1"},
        }
    }

load_subconfig("teams_server_config.py")  # noqa: F821 - Jupyter puts it here
