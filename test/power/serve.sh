#!/bin/bash
# In the guest: mounts the disk, looks through what the power cut left there if asked to, and serves it.
#
#   serve.sh PROGRAM CONFIG DISK check|straight
#
# DISK is a block device, or ADDRESS:PORT of a server of the NBD protocol. On standard output goes one line for each thing
# that has happened.
program=$1 config=$2 disk=$3 look=$4
fail() { echo "failed: $*"; exit 1; }
now() { cut -d ' ' -f 1 /proc/uptime; }

if [[ $disk == *:* ]]; then
  modprobe nbd nbds_max=1 max_part=0 || fail "no NBD in this kernel"
  # Stays there: it is the kernel's thread for the device.
  "$(dirname "$0")/attach.py" "${disk%:*}" "${disk#*:}" /dev/nbd0 &
  disk=/dev/nbd0
  until [ "$(blockdev --getsize64 $disk 2> /dev/null || echo 0)" != 0 ]; do
    kill -0 $! 2> /dev/null || fail "attach.py ended"
    sleep 0.02
  done
fi
mkdir -p /mnt/disk
mount "$disk" /mnt/disk || fail "cannot mount $disk"
echo "mounted $(grep ' /mnt/disk ' /proc/mounts)"
cd /mnt/disk || fail "cannot enter the file system"

# Nothing was served from there if the first start was cut short before it had made its log.
if [ "$look" = check ] && [ -e data/log ]; then
  begin=$(now)
  "$program" check data --config "$config" --data >&2
  echo "checked $? $begin $(now)"
fi
echo serving
exec "$program" serve --data data --config "$config"
