#!/usr/bin/env python3
"""Runs workloads side by side in the guest, each in a directory of its own on the mounted export, and looks through what
the kernel's NFS client has complained about. In the directory SHARE, for the host to see:

    GUEST.WORKLOAD.started   it is at work
    GUEST.WORKLOAD.log       what it said at its end
    failed                   one has failed: there is no more to wait for
    stop                     (made by the host) all end after the round that they are in

Status 1 if anything was wrong. One interpreter runs all of it, because starting them is slow in the guest.
"""
import argparse
import importlib
import mmap
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback

from workloads.workload import Options, Wrong

# What the client says when it has lost something. That it waits for a server is what a hard mount is for.
COMPLAINTS = re.compile(
    r"\] (?i:nfs|rpc).*(?i:error|fail|lost|stale|bad|unhandled|invalid|corrupt|reclaim)|BUG:|Call Trace")
SILENT_SECONDS_MAX = 900  # longer than a workload waits for anything
# Who waits in the kernel, and for what; and the RPCs that are under way, which the kernel lists when this is written.
WHERE_IT_HANGS = r"""
for task in /proc/[0-9]*/task/[0-9]*; do
  [ "$(awk '$1 == "State:" { print $2 }' $task/status 2> /dev/null)" = D ] || continue
  echo "$task, $(tr '\0' ' ' < $task/cmdline), waits in $(cat $task/wchan)"
  cat $task/syscall $task/stack
done
echo 0 > /proc/sys/sunrpc/rpc_debug
dmesg | tail -60
cat /proc/net/tcp /proc/locks /proc/self/mountstats
"""


class Workload:
    def __init__(self, name, options):
        self.name = name
        self.log = options.share / f"{options.guest}.{name}.log"
        self.sign = mmap.mmap(-1, 8)  # when it was last alive; it writes there
        self.settings = Options(
            seed=options.seed, scale=options.scale, stop=str(options.share / "stop"), member=options.member,
            members=options.members, slow=str(options.share / f"{options.guest}.slow"))
        self.settings.sign = self.sign
        self.settings.alive()
        # These are for processes of all guests; everything else has a directory for itself.
        directory = name if name in ("locks", "shared") else f"{options.guest}.{name}"
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self.run(directory, options.share / f"{options.guest}.{name}.started"))

    def run(self, directory, started):
        with open(self.log, "w", encoding="utf-8") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                os.makedirs(directory, exist_ok=True)
                os.chdir(directory)
                module = importlib.import_module("workloads." + self.name)
                if hasattr(module, "prepare"):
                    module.prepare(self.settings)
                started.touch()
                text, status = module.main(self.settings), 0
            except (Wrong, OSError, subprocess.SubprocessError) as problem:
                text, status = f"FAILED: {type(problem).__name__}: {problem}", 1
            except BaseException:  # pylint: disable=broad-except
                text, status = "FAILED: " + traceback.format_exc(), 1
            log.write(text + "\n")
        return status

    def ended(self):
        """None while it runs, else whether it went well."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid != 0:
            return status == 0
        silent = time.monotonic() - int.from_bytes(self.sign[:], "little")
        if silent > SILENT_SECONDS_MAX:
            print(f"{self.name}: FAILED: no sign of life for {silent:.0f} s; where it hangs:", flush=True)
            subprocess.run(["bash", "-c", WHERE_IT_HANGS], check=False)
            return False
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=pathlib.Path, required=True)
    parser.add_argument("--guest", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("workloads", nargs="+")
    options = parser.parse_args()

    running = [Workload(name, options) for name in options.workloads]
    failed = []
    while running:
        for workload in list(running):
            well = workload.ended()
            if well is None:
                continue
            running.remove(workload)
            text = workload.log.read_text(errors="replace").strip()
            print(f"{options.guest}: {workload.name}: {text}", flush=True)
            if not well:
                failed.append(workload)
                (options.share / "failed").touch()
        time.sleep(0.1)

    kernel = subprocess.run(["dmesg"], stdout=subprocess.PIPE, text=True, check=True).stdout
    (options.share / f"{options.guest}.kernel.log").write_text(kernel)
    for line in kernel.splitlines():
        if COMPLAINTS.search(line):
            print(f"{options.guest}: its kernel says: {line}", flush=True)
            failed.append("kernel")
    return 1 if failed else 0


sys.exit(main())
