#!/bin/bash
# git on the export: a repository of some thousand files, two commits, gc, fsck. Arguments as in workload.py.
set -eu
seed=1 stop=/nonexistent/stop scale=10
while [ $# -gt 0 ]; do
  case $1 in --seed) seed=$2 ;; --stop) stop=$2 ;; --scale) scale=$2 ;; esac
  shift 2
done
export HOME=/tmp GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a
here=$(dirname "$(readlink -f "$0")")
rounds=0
while [ $rounds = 0 ] || [ ! -e "$stop" ]; do
  tree=tree$rounds
  git -c init.defaultBranch=main init -q $tree
  git -C $tree config gc.auto 0
  "$here/make_tree.py" $tree --files $((100 * scale)) --seed $((seed * 1000 + rounds))
  git -C $tree add -A
  git -C $tree commit -q -m first
  [ -z "$(git -C $tree status --porcelain)" ] || { echo "git status: something differs"; git -C $tree status --short | head; exit 1; }
  "$here/make_tree.py" $tree --files $((10 * scale)) --seed $((seed * 1000 + rounds + 500))
  git -C $tree add -A
  git -C $tree commit -q -m second
  git -C $tree gc -q
  echo 3 > /proc/sys/vm/drop_caches
  git -C $tree fsck --full --strict 2>&1 | { ! grep -v '^notice\|^Checking'; } || { echo "git fsck found the above"; exit 1; }
  [ "$(git -C $tree rev-list --count HEAD)" = 2 ] || { echo "a commit is missing"; exit 1; }
  git -C $tree diff --quiet HEAD || { echo "the tree differs from what was committed"; exit 1; }
  rm -rf $tree
  [ ! -e $tree ] || { echo "$tree is still there"; exit 1; }
  rounds=$((rounds + 1))
done
echo "$rounds repositories of $((100 * scale)) files"
