"""Which kernels a user is offered, and what counts as their work."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Unicode

from landbridge_user import environments


class UsersKernels(KernelSpecManager):
    """The stack's kernels, the user's own kernelspecs, and those of the user's own environments.

    Not the one of the environment that the server itself runs in, which JupyterLab brings along:
    user code there could not import the stack's libraries.
    """

    managed = Unicode(help="Folder of the node's environments.").tag(config=True)

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._own, self._found = {}, {}

    def _kernel_dirs_default(self):
        own = Path(sys.prefix)
        return [d for d in super()._kernel_dirs_default() if own not in Path(d).parents]

    def find_kernel_specs(self):
        """Names and folders; where two have one name, the stack's is taken."""
        found = environments.kernels(Path.home(), Path(self.managed))
        self._own = {kernel.name: kernel for kernel in found}
        own = {name: kernel.resources for name, kernel in self._own.items()}
        self._found = own | super().find_kernel_specs()
        return self._found

    def get_kernel_spec(self, kernel_name):
        """The kernelspec of a name; the base class would fall back to the server's own."""
        # Jupyter asks for every name that it has just been told.
        if kernel_name not in self._found and kernel_name not in self.find_kernel_specs():
            raise NoSuchKernel(kernel_name)
        if kernel_name not in self._own or self._find_spec_directory(kernel_name):
            return super().get_kernel_spec(kernel_name)
        kernel = self._own[kernel_name]
        return KernelSpec(
            argv=kernel.argv,
            display_name=kernel.display_name,
            language=kernel.language,
            env=kernel.env,
            resource_dir=kernel.resources,
            metadata={"debugger": kernel.language == "python"},
        )


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
