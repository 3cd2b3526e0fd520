#!/bin/sh
# PID 1 of the guest, started as `sh init.sh PREFIX TOP SCRATCH`: where Python, the sources, and pytest's arguments and
# environment are.
# Makes the host's tree, which is mounted read-only, into a root that can be written to and forgets; runs pytest, says how
# it ended, and switches the guest off. Writes go to memory; /var/tmp, where tests put WHARFIE_ROOT, is the ext4 image:
# neither hostfs, nor overlayfs, nor the tmpfs of Linux 6.1 can be idmapped.
prefix=$1 top=$2 scratch=$3
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1

set -e # the end of PID 1 is a kernel panic, and so a failure

keep() {
    for directory; do
        mkdir -p "/mnt$directory"
        mount -n --bind "$directory" "/mnt$directory"
    done
}

give_back() {
    for directory; do
        mkdir -p "$directory"
        mount -n --bind "/mnt$directory" "$directory"
    done
    umount -n -l /mnt
}

control_groups() {
    if [ "${CGROUPS:-v2}" = v2 ]; then
        mount -n -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    # As systemd mounts v1 and, beside it, a v2 without controllers.
    mount -n -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for names in cpu,cpuacct memory pids devices freezer cpuset blkio; do
        grep -q "^${names%%,*}[[:space:]]" /proc/cgroups || continue # user-mode-linux has one processor, and no cpuset
        mkdir "/sys/fs/cgroup/$names"
        mount -n -t cgroup -o "$names" cgroup "/sys/fs/cgroup/$names"
    done
    for name in cpu cpuacct; do ln -s cpu,cpuacct "/sys/fs/cgroup/$name"; done
    mkdir /sys/fs/cgroup/unified
    mount -n -t cgroup2 cgroup2 /sys/fs/cgroup/unified
}

prepare() {
    mount -n -t proc proc /proc
    busybox insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    mount -n -t tmpfs -o mode=755 tmpfs /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    mount -n -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
    mount -n --move /dev /mnt/root/dev
    mount -n --move /proc /mnt/root/proc
    cd /mnt/root
    pivot_root . mnt
    umount -n -l /mnt
    mount -n -t sysfs sysfs /sys
    control_groups
    mkdir -p /dev/pts /dev/shm /dev/mqueue
    mount -n -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
    mount -n -t tmpfs tmpfs /mnt
    keep "$prefix" "$top" "$scratch"
    # Places of the guest's own: in the host's, other tests leave and remove things while these run.
    mkdir -p /var/lib/wharfie-uid-ranges
    for place in /tmp /run /dev/shm /var/lib/wharfie-uid-ranges; do mount -n -t tmpfs -o mode=755 tmpfs $place; done
    mount -n -t ext4 -o nobarrier /dev/ubda /var/tmp
    chmod 1777 /tmp /dev/shm /var/tmp
    give_back "$prefix" "$top" "$scratch"
    busybox ip link set lo up
    cd "$top"
}

set -a
. "$scratch/environment"
set +a
prepare
code=0
"$prefix/bin/python" -m pytest --color=no -p no:cacheprovider "@$scratch/arguments" || code=$? # not as PID 1, to which orphans come
echo "wharfie guest: exit $code"
busybox poweroff -f
