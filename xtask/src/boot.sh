# A root of its own for the systemd that tests the packaged unit: this machine's files under a layer
# that is thrown away. Run by `unshare` as process 1 of namespaces of its own, in a cgroup of its own;
# $1 is an empty folder. What can't be had here ends it before "booting" is said.
set -e
at=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$at"
mkdir "$at/upper" "$at/work" "$at/root"
mount -t overlay -o "lowerdir=/,upperdir=$at/upper,workdir=$at/work" none "$at/root"
cd "$at/root"
# Settings of the kernel are the machine's: they are looked at and not touched.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
# Of the cgroup namespace: nothing above our own cgroup is there.
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 none dev
for node in null zero full random urandom tty; do
  mknod -m 666 "dev/$node" c $(stat -c '0x%t 0x%T' "/dev/$node")
done
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
# Nothing of this machine's is started, and nothing of an installed jotwatch is known.
rm -rf etc/systemd/system var/lib/jotwatch var/log/jotwatch etc/jotwatch var/log/journal
mkdir -p etc/systemd/system var/log/journal
ln -s /lib/systemd/system/multi-user.target etc/systemd/system/default.target
for unit in getty.target systemd-logind.service systemd-user-sessions.service \
  systemd-update-utmp.service systemd-update-utmp-runlevel.service; do
  ln -s /dev/null "etc/systemd/system/$unit"
done
: > etc/fstab
: > etc/machine-id
ip link set lo up
mkdir -p .old
pivot_root . .old
umount -l /.old
echo booting
exec setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-syslog,-audit_control \
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=jotwatch-test \
  /lib/systemd/systemd --log-target=journal --show-status=no
