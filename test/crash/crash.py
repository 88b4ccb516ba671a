#!/usr/bin/env python3
"""The crash test: clients work on the server while its process is killed again and again.

In user-mode Linux guests (test/guest) run git, tar, random file operations, names, locks and a pinger (workloads/).
Meanwhile the server process is killed at random moments, most often with SIGKILL, some of them while it restores, and the
guardian restarts it. Before some restarts the guardian is killed as well, and a copy of the data directory is made and
examined by `perdure check`. In the end all workloads must have found everything right, and `perdure check` too.

A second part, `replay`, is a client of the project's own that sends unanswered requests again as they were, and proves
that each was executed exactly once.

Everything random follows from --seed, but not what it coincides with.
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

from paths import HERE
from clients import WORKLOADS, Clients, Failure
from guest import GuestError
from replay import Replay
from server import ServerError

PARTS = {"replay": Replay, "clients": Clients}
# Long form, short form.
FORMS = {"kills": (24, 5), "copies": (5, 1), "hangs": (1, 0), "interval": (4.0, 3.0), "guests": (2, 1), "scale": (30, 2),
         "replay_seconds": (60, 15), "replay_kills_min": (10, 2), "finish_seconds": (1800, 400)}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--server", default=str(HERE.parent.parent / "build/release/perdure"), metavar="PROGRAM", help="the program to test")
    option("--seed", type=int, default=None, help="default: a new one each time")
    option("--kills", type=int, help="default 24, short 5")
    option("--seconds", type=float, default=0, help="no more kills after so many seconds of work; default: no limit")
    option("--interval", type=float, help="the longest time between two kills, in seconds; default 4, short 3")
    option("--copies", type=int, help="how many of the kills are followed by a copy and its check; default 5, short 1")
    option("--hangs", type=int, help="how many of them stop the process with SIGSTOP instead; default 1, short 0")
    option("--guests", type=int, help="default 2, short 1")
    option("--vers", default="4.2", help="NFS version of the Linux clients; default 4.2")
    option("--scale", type=int, help="how much a workload does in one round; default 30 (3000 files in git), short 2")
    option("--replay-seconds", type=int, help="default 60, short 15")
    option("--replay-kills-min", type=int, help=argparse.SUPPRESS)
    option("--finish-seconds", type=int, help="how long the workloads may take to end; default 1800, short 400")
    option("--short", action="store_true", help="the form for every day")
    option("--parts", default=",".join(PARTS), help="default %(default)s")
    option("--workloads", default="", help="only these, of " + ",".join(WORKLOADS))
    option("--against", metavar="[HOST:]PORT:EXPORT", help="another server, that runs already: no kills, --seconds of work")
    option("--stop-on-eof", action="store_true", help="with --against: work ends when standard input has")
    option("--no-check", dest="check", action="store_false", help="leave out `perdure check`")
    option("--keep", action="store_true", help="keep the data directory and the logs, as after a failure")
    option("--verbose", action="store_true")
    options = parser.parse_args()
    for name, (long, short) in FORMS.items():
        if getattr(options, name) is None:
            setattr(options, name, short if options.short else long)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 30)
    if options.kills < options.copies + options.hangs:
        parser.error("more copies and hangs than kills")
    if not set(options.parts.split(",")) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    return options


def run(part, directory):
    try:
        part.run()
        return True
    except (Failure, GuestError, ServerError, OSError, subprocess.SubprocessError) as problem:
        print(f"crash: FAILED: {problem}\ncrash: data, messages and the guests' consoles are in {directory}", flush=True)
        return False
    finally:
        for line in part.report():
            print(f"crash: {line}", flush=True)


def main():
    options = parse()
    if "clients" in options.parts and os.geteuid() != 0 and shutil.which("sudo"):  # for the network device
        os.execvp("sudo", ["sudo", sys.executable, *sys.argv])
    print(f"crash: seed {options.seed}", flush=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="perdure-crash."))
    good = True
    for name in options.parts.split(","):
        part = PARTS[name](options, random.Random(options.seed), directory)
        good = run(part, directory) and good
    if options.keep or not good:
        print(f"crash: data and logs are in {directory}")
    else:
        shutil.rmtree(directory)
    print("crash: " + ("good" if good else "FAILED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
