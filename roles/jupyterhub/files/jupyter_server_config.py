"""Every user's server: the kernels of the stack and the user's own, not the hub's environment."""

import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

c = get_config()  # noqa: F821 - Jupyter puts it here


class StackKernels(KernelSpecManager):
    """All kernels but the one of the environment that the server itself runs in.

    JupyterLab brings a kernel along. User code there could not import the stack's libraries.
    """

    def _kernel_dirs_default(self):
        own = Path(sys.prefix)
        return [d for d in super()._kernel_dirs_default() if own not in Path(d).parents]

    def get_kernel_spec(self, kernel_name):
        """The kernelspec of a name; the base class would fall back to the server's own."""
        if kernel_name not in self.find_kernel_specs():
            raise NoSuchKernel(kernel_name)
        return super().get_kernel_spec(kernel_name)


c.ServerApp.kernel_spec_manager_class = StackKernels
c.KernelSpecManager.ensure_native_kernel = False

load_subconfig("teams_server_config.py")  # noqa: F821 - Jupyter puts it here
