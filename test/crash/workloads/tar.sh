#!/bin/bash
# Untars a tree, compares it with the archive, and removes it. Arguments as in workload.py.
set -eu
seed=1 stop=/nonexistent/stop scale=10
while [ $# -gt 0 ]; do
  case $1 in --seed) seed=$2 ;; --stop) stop=$2 ;; --scale) scale=$2 ;; esac
  shift 2
done
here=$(dirname "$(readlink -f "$0")")
mkdir -p /tmp/original
"$here/make_tree.py" /tmp/original --files $((50 * scale)) --links --seed "$seed"
tar -C /tmp/original -cf /tmp/original.tar .
rounds=0
while [ $rounds = 0 ] || [ ! -e "$stop" ]; do
  mkdir copy
  tar -C copy -xf /tmp/original.tar
  diff -r --no-dereference /tmp/original copy
  sync
  echo 3 > /proc/sys/vm/drop_caches
  # Times, modes, owners, sizes, links and content.
  tar -C copy --compare -f /tmp/original.tar
  rm -rf copy
  [ ! -e copy ] || { echo "copy is still there"; exit 1; }
  rounds=$((rounds + 1))
done
echo "$rounds trees of $((50 * scale)) files"
