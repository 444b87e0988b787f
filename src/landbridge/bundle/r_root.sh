#!/bin/sh
# Work in the root of a foreign system, in namespaces of its own that unshare(1) has made: what
# is mounted here is gone with them. Called by r_root.py:
#   r_root.sh install ROOT COMMAND...                 the machine's COMMAND, which fills ROOT
#   r_root.sh compile ROOT WORK LIBRARY COMMAND...    ROOT's COMMAND, as nobody, ROOT read-only
# In WORK: source/ becomes /build, tmp/ becomes /tmp, library/ becomes LIBRARY, and of each folder
# that a link in needs/ leads to a package in LIBRARY.
set -eu
# Whatever the umask of who builds: nobody must be able to read the root.
umask 022
verb=$1 root=$2
shift 2

# /dev with what any program may expect, and nothing of the machine's disks.
devices() {
    mount -t tmpfs -o mode=755,nosuid,noexec landbridge-dev "$root/dev"
    for node in null zero full random urandom tty; do
        : > "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir -m 1777 "$root/dev/shm"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
}

if [ "$verb" = install ]; then
    devices
    exec "$@"
fi

work=$1 library=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro,nosuid,nodev "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
devices
mount --bind "$work/source" "$root/build"
mount --bind "$work/tmp" "$root/tmp"
mount --bind "$work/library" "$root$library"
for needed in "$work/needs"/*; do
    if [ -e "$needed" ]; then
        mkdir "$work/library/${needed##*/}"
        mount --bind "$needed" "$root$library/${needed##*/}"
        mount -o remount,bind,ro,nosuid,nodev "$root$library/${needed##*/}"
    fi
done
# Numbers: the root's own names count for nothing on this machine.
exec chroot --userspec=65534:65534 --groups=65534 "$root" "$@"
