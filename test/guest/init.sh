#!/bin/bash
# The guest's first process; guest.py starts it with what it needs to know in the kernel's arguments and in the
# exchange directory, which is the one directory of the host that the guest may write to (beside the shares):
#   settings  shell variables          command   what to run, as a shell script
#   events    one line for each thing that has happened, for guest.py to read
#   stdout, stderr   of the command
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

power_off() { echo o > /proc/sysrq-trigger; sleep 60; }

# The root is the host's, read-only. Over it goes an overlay in the guest's memory, and everything else happens in
# there.
if [ "$1" != inside ]; then
  problem() { echo "init: $1" > /dev/console; power_off; }
  mount -t proc proc /proc
  mount -t tmpfs -o mode=755 overlay /tmp || problem "no memory for the overlay"
  insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko" || problem "no overlay file system"
  mkdir /tmp/changes /tmp/scratch /tmp/root
  mount -t overlay -o lowerdir=/,upperdir=/tmp/changes,workdir=/tmp/scratch overlay /tmp/root || problem "no overlay"
  cd /tmp/root || problem "no root"
  mkdir -p proc sys dev run tmp lib/modules mnt/export
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t devtmpfs devtmpfs dev || problem "no /dev"
  mkdir -p dev/pts dev/shm
  mount -t devpts -o ptmxmode=666 devpts dev/pts
  mount -t tmpfs -o mode=1777 shm dev/shm
  mount -t tmpfs -o mode=755 run run
  mount -t tmpfs -o mode=1777 tmp tmp
  mount --bind /usr/lib/uml/modules lib/modules || problem "no kernel modules"
  mkdir -p run/lock run/exchange
  mount -t hostfs -o "$exchange" exchange run/exchange || problem "no exchange directory"
  exec chroot . /bin/bash /run/exchange/init.sh inside
fi

cd /run/exchange
. ./settings
event() { echo "$*" >> /run/exchange/events; }
problem() { event "problem $*"; power_off; }

echo "$name" > /proc/sys/kernel/hostname
ln -sfn /proc/self/fd /dev/fd
for directory in "${shares[@]}"; do
  mkdir -p "$directory" && mount -t hostfs -o "$directory" share "$directory" || problem "cannot share $directory"
done
ip link set lo up
ip link set vec0 up mtu 1500 && ip address add "$guest_address/30" dev vec0 && ip route add default via "$host_address" ||
  problem "no network"
event booted

if [ "$mounts" = yes ]; then
  modprobe nfs && modprobe nfsv4 || problem "no NFS client in this kernel"
  # A server that does not answer yet may be on its way.
  deadline=$((SECONDS + mount_seconds))
  until error=$(timeout -s KILL 30 mount -t nfs4 -o "$options" "$server:$export_path" /mnt/export 2>&1); do
    [ $SECONDS -lt $deadline ] && grep -qiE '^$|refused|timed out|unreachable|no route|unable to' <<< "$error" ||
      problem "cannot mount $server:$export_path ($options): ${error:-no answer}"
    sleep 0.2
  done
  event "mounted $(grep ' /mnt/export ' /proc/mounts)"
  cd /mnt/export || problem "cannot enter the mounted export"
else
  cd /
fi

umask 022
setsid --wait /bin/bash /run/exchange/command < /dev/null >> /run/exchange/stdout 2>> /run/exchange/stderr
status=$?
cd /
event "finished $status"

# Whoever is left could hold the mount; this process is the only one that the signal spares.
kill -KILL -1
if [ "$mounts$unmount" = yesyes ] && ! error=$(timeout -s KILL 15 umount /mnt/export 2>&1); then
  event "warning cannot unmount: ${error:-no answer}"
fi
event off
power_off
