# boot.sh ROOT: boots the systemd of the tree ROOT in namespaces of its own, on the kernel of this machine.
# The tree is written to. The machine ends with this process, or with `systemctl poweroff` inside.
#
# systemd needs a control group of its own and file systems as a container manager gives them; it runs as process 1 of
# a PID namespace.
set -eu
root=$1
groups=$(findmnt --list --noheadings --types cgroup2 --output TARGET | head -n 1)
group=$groups/wardgate-test-$$
mkdir "$group"
echo $$ >"$group/cgroup.procs"
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child --propagation private \
    sh -euc '
root=$1
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
# Settings of the whole kernel, which no namespace has: files of the tree stand in for some, and nothing is written to the
# others.
if test -d var/stand-in; then
    mount -o remount,bind,ro sys
    for folder in proc/irq proc/sys/kernel proc/sys/fs proc/sys/vm; do
        mount --bind $folder $folder
        mount -o remount,bind,ro $folder
    done
    while read -r path; do
        mount --bind "var/stand-in/$path" "$path"
    done <var/stand-in/list
fi
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p run/before
pivot_root . run/before
umount -l /run/before
# As the kernel leaves it to systemd at boot: the credentials of a service are mounted by another process.
mount --make-rshared /
hostname machine
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=journal --log-level=notice --show-status=no </dev/null
' boot "$root"
