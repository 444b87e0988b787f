#!/busybox sh
# The first process of a lab machine: finds its disk and hands over to systemd.
/busybox mkdir -p /proc /sys /dev /root
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sys /sys
/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /busybox insmod "$module"; done
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do /busybox sleep 0.1; done
/busybox mount -t ext4 /dev/vda /root
/busybox umount /proc /sys /dev
exec /busybox switch_root /root /sbin/init
