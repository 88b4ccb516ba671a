#!/usr/bin/env python3
"""Runs workloads side by side in the guest, each in a directory of its own on the mounted export, and looks through what
the kernel's NFS client has complained about. What each printed is in SHARE/GUEST.WORKLOAD.log; SHARE/failed is there
as soon as one has failed, and all end soon after SHARE/stop is there. Status 1 if anything was wrong."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

WORKLOADS = pathlib.Path(__file__).resolve().parent / "workloads"

# What the client says when it has lost something. That it waits for a server is what a hard mount is for.
COMPLAINTS = re.compile(
    r"\] (?i:nfs|rpc).*(?i:error|fail|lost|stale|bad|unhandled|invalid|corrupt|reclaim)|BUG:|Call Trace")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=pathlib.Path, required=True)
    parser.add_argument("--guest", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("workloads", nargs="+")
    options = parser.parse_args()

    running = {}
    for workload in options.workloads:
        [program] = WORKLOADS.glob(workload + ".*")
        command = [program, "--seed", options.seed, "--stop", options.share / "stop", "--scale", options.scale]
        # The locks are for processes of all guests; everything else has a directory for itself.
        directory = workload if workload == "locks" else f"{options.guest}.{workload}"
        os.makedirs(directory, exist_ok=True)
        if workload == "locks":
            command += ["--member", options.member, "--members", options.members]
        if workload == "pinger":
            command += ["--slow", options.share / f"{options.guest}.slow"]
        with open(options.share / f"{options.guest}.{workload}.log", "wb") as log:
            running[workload] = subprocess.Popen([str(word) for word in command], cwd=directory, stdout=log,
                                                 stderr=subprocess.STDOUT)
    print(f"{options.guest}: started {' '.join(running)}", flush=True)

    failed = []
    while running:
        for workload, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[workload]
            text = (options.share / f"{options.guest}.{workload}.log").read_text(errors="replace").strip()
            print(f"{options.guest}: {workload}: {'' if process.returncode == 0 else 'FAILED: '}{text}", flush=True)
            if process.returncode != 0:
                failed.append(workload)
                (options.share / "failed").touch()
        time.sleep(0.1)

    kernel = subprocess.run(["dmesg"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in kernel.splitlines():
        if COMPLAINTS.search(line):
            print(f"{options.guest}: its kernel says: {line}", flush=True)
            failed.append("kernel")
    return 1 if failed else 0


sys.exit(main())
