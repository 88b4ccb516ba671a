#!/usr/bin/env python3
"""The crash test: real Linux clients work on the server while its process is killed again and again.

In user-mode Linux guests (test/guest) run git, tar, random file operations, names, locks and a pinger (workloads/).
Meanwhile the server process is killed with SIGKILL at random moments, some of them while it restores, and the guardian
restarts it. Before some restarts the guardian is killed as well, and a copy of the data directory is made and
examined by `perdure check`. In the end all workloads must have found everything right, and `perdure check --data` too.

Everything random follows from --seed, but not what it coincides with.
"""
import argparse
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "guest"))
from guest import Guest, GuestError, Slot  # noqa: E402
from server import Server, ServerError  # noqa: E402

WORKLOADS = ["git", "tar", "fileops", "names", "locks", "pinger"]
# The second client is there for its locks, and to see that clients do not disturb each other.
WORKLOADS_OF_OTHERS = ["names", "locks", "pinger"]
FINISH_SECONDS_MAX = 900


class Failure(Exception):
    pass


class Kill:
    def __init__(self, kind):
        self.at = time.time()
        self.kind = kind
        self.pause = 0.0  # the longest call of a pinger that it fell into, or that began in the second after it


class CrashTest:
    def __init__(self, options, directory):
        self.options = options
        self.random = random.Random(options.seed)
        self.directory = directory
        self.share = directory / "share"
        self.share.mkdir()
        self.guests = []
        self.kills = []
        self.server = None

    def run(self):
        slots = []
        try:
            for _ in range(self.options.guests):
                slots.append(Slot())
            if not self.options.against:
                # Only the tap devices lead to it, or only this machine does.
                address = slots[0].host_address if len(slots) == 1 else "0.0.0.0"
                self.server = Server(self.options.server, self.directory, address)
                self.server.start()
            for number, slot in enumerate(slots):
                self.guests.append(self.start_guest(number, slot))
            self.wait_for_mounts()
            self.kill_and_wait()
            self.finish()
        finally:
            for guest in self.guests:
                guest.close()
            if self.server:
                self.server.close()
            for slot in slots:
                slot.close()

    def start_guest(self, number, slot):
        name = f"client{number}"
        workloads = WORKLOADS if number == 0 else WORKLOADS_OF_OTHERS
        if self.options.workloads:
            workloads = [w for w in workloads if w in self.options.workloads.split(",")]
        port, export = self.options.against.split(":") if self.options.against else (self.server.port, "/")
        guest = Guest(
            slot, [str(HERE / "in_guest.py"), "--share", str(self.share), "--guest", name, "--seed",
                   str(self.options.seed + number), "--scale", str(self.options.scale), "--member", str(number),
                   "--members", str(self.options.guests), *workloads],
            port=port, export=export, name=name, memory="768M", shares=[self.share],
            verbose=self.options.verbose)
        guest.start()
        return guest

    def wait_for_mounts(self):
        while not all(guest.is_mounted for guest in self.guests):
            self.look_after()
            time.sleep(0.05)

    def look_after(self):
        """True once all guests are off. Raises if something is wrong already."""
        statuses = [guest.poll() for guest in self.guests]
        if any(statuses):
            raise Failure("a client found something wrong (see above)")
        if self.server:
            self.server.check_alive()
        return all(status is not None for status in statuses)

    def pass_time(self, seconds):
        """Waits; False once there is no more to wait for, because a workload has failed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look_after()
            if (self.share / "failed").exists():
                return False
            time.sleep(min(0.05, max(0, end - time.monotonic())))
        return True

    def kill_and_wait(self):
        if not self.server:
            self.pass_time(self.options.seconds)
            return
        copies = set(self.random.sample(range(1, self.options.kills), self.options.copies))
        good = self.pass_time(1)
        while good and len(self.kills) < self.options.kills:
            # Often while everything is at work, sometimes while the restart of before is at work.
            soon = self.kills and self.random.random() < 0.2
            good = self.pass_time(self.random.uniform(0, 0.1) if soon else self.random.uniform(1, self.options.interval))
            if len(self.kills) in copies:
                self.kill_and_copy()
            else:
                self.kills.append(Kill("restarting" if soon else "working"))
                self.server.kill()
        if good:
            self.pass_time(1)

    def kill_and_copy(self):
        self.kills.append(Kill("copied"))
        copy = self.directory / "copy"
        self.server.kill_all()
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", self.server.data, copy], check=True)
        self.server.start()
        if not self.options.no_check:
            self.server.check(copy)
        shutil.rmtree(copy)

    def finish(self):
        (self.share / "stop").touch()
        deadline = time.monotonic() + FINISH_SECONDS_MAX
        while not self.look_after():
            if time.monotonic() > deadline:
                raise Failure(f"the workloads have not finished after {FINISH_SECONDS_MAX} s")
            time.sleep(0.05)
        if self.server:
            self.server.stop()
            if not self.options.no_check:
                self.server.check(self.server.data, "--data")

    def report(self):
        """One line; and the pauses, if they were longer than they may be."""
        calls = [tuple(map(float, line.split()[:2])) for file in self.share.glob("*.slow")
                 for line in file.read_text().splitlines()]
        for kill in self.kills:
            kill.pause = max([took for begin, took in calls if begin - 1 < kill.at < begin + took], default=0.05)
        pauses = sorted(kill.pause for kill in self.kills if kill.kind != "copied")
        line = f"crash: seed {self.options.seed}: {len(self.kills)} kills"
        if pauses:
            line += (f" ({', '.join(kill.kind for kill in self.kills)}); the pauses that a program saw: median "
                     f"{pauses[len(pauses) // 2]:.2f} s, longest {pauses[-1]:.2f} s")
        return line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--server", default="build/release/perdure", metavar="PROGRAM", help="the program to test")
    option("--seed", type=int, default=None, help="default: a new one each time")
    option("--kills", type=int, help="default 24, short 7")
    option("--copies", type=int, help="how many of the kills are followed by a copy and its check; default 6, short 2")
    option("--interval", type=float, help="the longest time between two kills, in seconds; default 8, short 5")
    option("--guests", type=int, help="default 2, short 1")
    option("--scale", type=int, help="how much a workload does in one round; default 20, short 8")
    option("--short", action="store_true", help="the form for every day")
    option("--workloads", default="", help=f"only these, of {','.join(WORKLOADS)}")
    option("--against", metavar="PORT:EXPORT", help="another server, that runs already: no kills, --seconds of work")
    option("--seconds", type=float, default=30)
    option("--no-check", action="store_true", help="leave out `perdure check`")
    option("--keep", action="store_true", help="keep the data directory and the logs, as after a failure")
    option("--verbose", action="store_true")
    options = parser.parse_args()
    forms = {"kills": (24, 7), "copies": (6, 2), "interval": (8, 5), "guests": (2, 1), "scale": (20, 8)}
    for name, (long, short) in forms.items():
        if getattr(options, name) is None:
            setattr(options, name, short if options.short else long)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 30)
    print(f"crash: seed {options.seed}", flush=True)

    directory = pathlib.Path(tempfile.mkdtemp(prefix="perdure-crash."))
    test = CrashTest(options, directory)
    try:
        test.run()
    except (Failure, GuestError, ServerError, subprocess.SubprocessError) as problem:
        print(f"crash: FAILED: {problem}\ncrash: data and logs are in {directory}", flush=True)
        print(test.report())
        return 1
    print(test.report())
    if options.keep:
        print(f"crash: data and logs are in {directory}")
    else:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
