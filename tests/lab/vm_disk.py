"""The disk of a virtual machine: a node's root, SELinux's policy and labels, Debian's kernel.

The policy is Debian's `default` and not RHEL's `targeted`: other domains, other rules, but of one
origin. Toolkit and environments, which take an emulated machine half an hour, were installed by the
roles on a node that is a container, whose files the machine then has.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import debian, debs, inventory, nodes, paths, podman, roots
from tests.lab.platforms import Platform

_HERE = Path(__file__).parent
_OVERLAY = _HERE / "vm"  # files that the machine gets, under their paths
_INIT = _HERE / "data" / "initramfs.sh"
_KERNEL = "linux-image-cloud-amd64"
_POLICY = ["selinux-policy-default", "policycoreutils", "selinux-utils", "libsemanage-common"]
# All else that the first steps need is built into this kernel.
_MODULES = ["virtio_blk", "virtio_net"]
_SIZE = 16 << 30  # sparse
_NODE = "vm-disk"
_AREAS = "preflight,toolkit,repositories,conda"
# Without labels, as after SELinux was switched on: to give them some is role conda's work.
_UNLABELLED = tuple(
    f"/opt/landbridge/{at}" for at in ("envs", "cache/conda", "share/jupyter/kernels")
)
# A container must not run it; a machine of its own tells the journal of denials by it.
_AUDIT = "systemd-journald-audit.socket"
# Of systemd-networkd, which RHEL's nodes have not; Debian's policy does not let it start.
_MASKED = "systemd-network-generator.service"


@dataclass(frozen=True)
class Disk:
    """What qemu starts from."""

    kernel: Path
    initramfs: Path
    root: Path


def disk(platform: Platform, bundle: Path) -> Disk:
    """The disk of `platform`'s machines, with the toolkit of `bundle`."""
    overlay = [path for path in sorted(_OVERLAY.rglob("*")) if path.is_file()]
    names = (roots.root(platform).parent.name, bundle.parent.name)
    inputs = paths.key(*names, Path(__file__), _INIT, *overlay)
    made = paths.product(f"vm/{platform.name}", inputs, lambda to: _make(platform, bundle, to))
    return Disk(made / "vmlinuz", made / "initramfs", made / "root.img")


def bundle_disk(bundle: Path) -> Path:
    """A disk that holds a bundle."""

    def make(to: Path) -> None:
        size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
        _file_system(to / "bundle.img", bundle, int(size * 1.2) + (64 << 20))

    inputs = paths.key(bundle.parent.name, Path(__file__))
    return paths.product("vm/bundle", inputs, make) / "bundle.img"


def _make(platform: Platform, bundle: Path, to: Path) -> None:
    tree = to / "tree"
    tree.mkdir()
    _converged(platform, bundle, tree)
    debs.unpack(platform.suite, _POLICY, tree)
    version = _add_kernel(platform, tree, to)
    subprocess.run(["cp", "-a", "--no-preserve=ownership", f"{_OVERLAY}/.", tree], check=True)
    debian.in_root(tree, ["systemctl", "unmask", _AUDIT])
    debian.in_root(tree, ["systemctl", "enable", _AUDIT, "landbridge-lab-network.service"])
    debian.in_root(tree, ["systemctl", "mask", _MASKED])
    _initramfs(tree, version, to / "initramfs")
    _label(tree)
    _file_system(to / "root.img", tree, _SIZE)
    shutil.rmtree(tree)


def _converged(platform: Platform, bundle: Path, tree: Path) -> None:
    """Fill `tree` with the files of a node that has its toolkit."""
    landbridge = Path(sys.executable).with_name("landbridge")
    nodes.create(_NODE, platform.name, bundle)
    try:
        hosts = inventory.write(tree.with_name("inventory.yml"), [_NODE])
        apply = [landbridge, "apply", "--inventory", hosts, "--tags", _AREAS]
        done = subprocess.run(apply, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NodeError(f"{_NODE} is not converged:\n{done.stdout[-3000:]}{done.stderr}")
        tar = ["tar", "-C", str(tree), "--xattrs", "--xattrs-include=*", "-xf", "-"]
        with subprocess.Popen(podman.command("export", _NODE), stdout=subprocess.PIPE) as source:
            subprocess.run(tar, stdin=source.stdout, check=True)
        if source.returncode:
            raise NodeError(f"podman export of {_NODE}: exit {source.returncode}")
    finally:
        nodes.destroy(_NODE)
    # Each machine is another one; the container had the other files from podman.
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (tree / "etc/resolv.conf").write_text("")


def _add_kernel(platform: Platform, tree: Path, to: Path) -> str:
    """Put the kernel's modules into the tree, the kernel beside it; its version."""
    fetched = debs.fetch(platform.suite, [_KERNEL], closure=True)
    (deb,) = fetched.glob("linux-image-[0-9]*.deb")
    subprocess.run(["dpkg-deb", "--extract", deb, tree], check=True)
    (image,) = (tree / "boot").glob("vmlinuz-*")
    image.rename(to / "vmlinuz")
    version = image.name.removeprefix("vmlinuz-")
    debian.in_root(tree, ["depmod", version])
    return version


def _initramfs(tree: Path, version: str, file: Path) -> None:
    """What finds the disk: busybox, the modules of virtio, and a script."""
    staged = file.with_name("staged")
    (staged / "modules").mkdir(parents=True)
    shutil.copy(_INIT, staged / "init")
    (staged / "init").chmod(0o755)
    shutil.copy("/bin/busybox", staged / "busybox")
    modules = tree / "usr/lib/modules" / version
    for number, name in enumerate(_in_order(modules / "modules.dep")):
        # busybox inserts them in the order of their names.
        target = staged / "modules" / f"{number:02}-{Path(name).stem}"
        target.write_bytes(lzma.decompress((modules / name).read_bytes()))
    script = 'cd "$0"; find . | /bin/busybox cpio -o -H newc > "$1"'
    subprocess.run(["sh", "-ec", script, staged, file], check=True, capture_output=True)
    shutil.rmtree(staged)


def _in_order(listing: Path) -> list[str]:
    """Files of `_MODULES` and of what they need, each after its needs."""
    lines = (line.split(":") for line in listing.read_text().splitlines())
    needs = {file: others.split() for file, others in lines}
    names = {Path(file).name.split(".")[0]: file for file in needs}
    # depmod names what a module needs in the order opposite to that of inserting.
    wanted = [each for name in _MODULES for each in (*needs[names[name]][::-1], names[name])]
    return list(dict.fromkeys(wanted))


def _label(tree: Path) -> None:
    """Build the policy from its modules, and give every file its label."""
    modules = "/usr/share/selinux/default/*.pp.bz2"
    debian.in_root(tree, ["sh", "-c", f"semodule -X 100 -n -s default -i {modules}"])
    contexts = "/etc/selinux/default/contexts/files/file_contexts"
    left_out = [
        word for folder in ("/proc", "/sys", "/dev", *_UNLABELLED) for word in ("-e", folder)
    ]
    debian.in_root(tree, ["setfiles", "-F", *left_out, contexts, "/"])


def _file_system(image: Path, folder: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", folder, image], check=True)
