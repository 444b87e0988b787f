"""Every user's server: the kernels of the stack and the user's own, not the hub's environment."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

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


class WorkingKernels(AsyncMappingKernelManager):
    """Kernels whose work counts as activity, also where it prints nothing for hours.

    The hub stops servers that report none for long.
    """

    _last_seen = datetime.now(UTC)

    @property
    def last_kernel_activity(self):
        """Now, while a kernel is busy; else when one last said something."""
        states = [getattr(kernel, "execution_state", "") for kernel in self._kernels.values()]
        return datetime.now(UTC) if "busy" in states else self._last_seen

    @last_kernel_activity.setter
    def last_kernel_activity(self, when):
        self._last_seen = when


c.ServerApp.kernel_manager_class = WorkingKernels
c.ServerApp.kernel_spec_manager_class = StackKernels
c.KernelSpecManager.ensure_native_kernel = False

load_subconfig("teams_server_config.py")  # noqa: F821 - Jupyter puts it here
