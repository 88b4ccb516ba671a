#!/usr/bin/env python3
"""The server's machine loses its power again and again, under load; nothing that it acknowledged may be lost or done twice.

`perdure serve` runs in a user-mode Linux guest on a file system of its own, and the guest is killed. The client,
`perdure bench crash`, lives on outside: it sends again what was not answered, with the same sequence ids, holds each answer
against what it must be, and the tree against its journal. Before most restarts `perdure check --data` looks through what the
cut left. README.md says what the disks lose.

Everything random follows from --seed, but not what it coincides with.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "guest"), str(HERE.parent / "crash")]

from disks import DISKS
from figures import distribution
from guest import GuestError, Slot
from machine import PORT, KernelDied, Machine
from server import ServerError

MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0"], "xfs": ["mkfs.xfs", "-q", "-f"]}
# A gibibyte of it is always left free; the file of the host has holes.
DISK_BYTES = 3 << 30
# Long form, short form.
FORMS = {"cuts": (50, 2), "round": (90, 12), "interval": (5.0, 3.0), "disks": ("ubd,volatile", "volatile")}
CLIENT_PATIENCE_SECONDS = 300
# What follows a cut, and how often: another one at any moment between switching on and the end of the restoration.
AGAIN = 0.25
# How often the power is cut when the disk has something to lose, if that happens within a second.
AT_RISK = 0.7
CHECKED = 0.7


class Power:
    def __init__(self, options, directory):
        self.options = options
        self.random = random.Random(options.seed)
        self.directory = directory
        self.slot = Slot()
        self.cuts = []            # the Loss of each
        self.early = 0            # cuts while the server was not yet serving, or hardly
        self.deaths = 0           # of the guest's kernel, unasked
        self.checks = 0
        self.answered_after = []  # ms from switching on to the first answer
        self.results = []         # of the clients
        self.verified = 0
        self.seconds_of_load = 0.0
        self.switched_on = 0.0

    def run(self):
        try:
            disks = self.options.disks.split(",")
            number = 0
            while len(self.cuts) < self.options.cuts:
                self.round(number, DISKS[disks[number % len(disks)]])
                number += 1
        finally:
            self.slot.close()

    def round(self, number, disk_class):
        """A new disk, a first start, a client for some time, and its journal compared with the tree in the end."""
        print(f"power: round {number}: {disk_class.NAME}, {len(self.cuts)} cuts so far", flush=True)
        directory = self.directory / f"round{number}"
        directory.mkdir()
        disk = disk_class(directory, DISK_BYTES, MAKE[self.options.fs], self.random, self.slot.host_address)
        machine = Machine(self.options.server, directory, self.slot, disk)
        client = None
        try:
            machine.boot(check=False)
            while True:
                early = self.random.random() < AGAIN  # the first start may be cut short as well
                try:
                    if early:
                        self.wait_for_early_moment(machine)
                    else:
                        self.wait_for_answer(machine)
                        client = client or self.start_client(directory)
                        if not self.pass_time(machine, client):
                            break
                except KernelDied as problem:
                    self.died(problem)
                self.cut(machine)
                self.early += early
            self.finish(machine, client, directory)
        except BaseException:
            if client and client.poll() is None:
                client.kill()
            if machine.guest:
                machine.cut()
            raise
        machine.close()
        disk.close()
        if not self.options.keep:
            shutil.rmtree(directory)

    def cut(self, machine):
        self.cuts.append(machine.cut())
        if self.options.verbose:
            print(f"power: cut {len(self.cuts)}: {self.cuts[-1]}", flush=True)
        self.switched_on = time.monotonic()
        machine.boot(check=self.random.random() < CHECKED)

    def died(self, problem):
        print(f"power: the guest's kernel died by itself: {problem}", flush=True)
        self.deaths += 1
        if self.deaths > 10 + len(self.cuts) / 2:
            raise ServerError("the guest's kernel dies too often")

    def wait_for_early_moment(self, machine):
        """Somewhere between switching on and the first answer, or soon after it."""
        machine.wait_for_event(self.random.choice(["mounted", "serving", "serving", "serving"]))
        until = time.monotonic() + self.random.choice([0.1, 0.5, 1.5]) * self.random.random()
        while time.monotonic() < until:
            machine.look_after()
            time.sleep(0.01)

    def wait_for_answer(self, machine):
        machine.wait_for_answer()
        if machine.word("checked") == "0":
            self.checks += 1
        elif self.cuts:
            self.answered_after.append(1000 * (time.monotonic() - self.switched_on))

    def serve_again(self, machine):
        """Cuts the power, and waits until it serves again."""
        while True:
            self.cut(machine)
            try:
                return self.wait_for_answer(machine)
            except KernelDied as problem:
                self.died(problem)

    def client(self, *arguments):
        return [self.options.server, "bench", *arguments, "--server", f"{self.slot.guest_address}:{PORT}"]

    def start_client(self, directory):
        with open(directory / "client.log", "wb") as log:
            return subprocess.Popen(
                self.client("crash", "--seconds", str(self.options.round), "--seed", str(self.random.randrange(1 << 30)),
                            "--conns", "4", "--depth", str(self.random.choice([2, 8])), "--suspect-after", "2",
                            "--reconnect-max", str(CLIENT_PATIENCE_SECONDS), "--stall-max", str(CLIENT_PATIENCE_SECONDS),
                            "--cut-every", "5", "--keep", "--json", "--crash-log", str(directory / "journal")),
                stdout=log, stderr=log)

    def pass_time(self, machine, client):
        """False once the client is done, or has found something wrong."""
        begin = time.monotonic()
        seconds = self.random.uniform(0.2, self.options.interval)
        while time.monotonic() < begin + seconds:
            machine.look_after()
            if client.poll() is not None:
                return False
            time.sleep(0.01)
        if self.random.random() < AT_RISK:
            while not machine.disk.has_loose() and time.monotonic() < begin + seconds + 1:
                time.sleep(0.001)
        self.seconds_of_load += seconds
        return True

    def finish(self, machine, client, directory):
        said = (directory / "client.log").read_text()
        try:
            result = json.loads(said.splitlines()[-1])
        except (IndexError, json.JSONDecodeError):
            result = None
        if client.returncode != 0 or not result or not result["good"]:
            raise ServerError(f"perdure bench crash: status {client.returncode}\n{said[-4000:]}\n{machine.last_messages()}")
        self.results.append(result)
        # And once more with nobody who sends anything again.
        self.serve_again(machine)
        command = self.client("verify", "--crash-log", str(directory / "journal"))
        verify = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if verify.returncode != 0:
            raise ServerError(f"perdure bench verify: status {verify.returncode}\n{verify.stdout[-4000:]}\n"
                              f"{machine.last_messages()}")
        self.verified += 1

    def report(self):
        total = {name: sum(result[name] for result in self.results)
                 for name in ("acknowledged", "checks", "requests_sent_again", "write_verifier_changes")}
        yield (f"{len(self.cuts)} cuts, {self.early} of them soon after another; {self.checks} times "
               f"`perdure check --data` between cut and restart" +
               (f"; {self.deaths} times the guest's kernel died by itself" if self.deaths else ""))
        risky = [cut for cut in self.cuts if cut.writes]
        if risky:
            yield (f"volatile disk: at {len(risky)} cuts there were writes not flushed, in all {sum(c.writes for c in risky)} of "
                   f"{sum(c.bytes_at_risk for c in risky) >> 10} KiB; {sum(c.bytes_lost for c in risky) >> 10} KiB were lost")
        yield (f"{len(self.results)} clients, {self.seconds_of_load:.0f} s of load between cuts: {total['acknowledged']} changes "
               f"acknowledged, {total['requests_sent_again']} requests sent again, {total['checks']} reads compared, "
               f"{total['write_verifier_changes']} changes of the write verifier; {self.verified} trees compared with their "
               f"journals after a last cut")
        yield "from switching on to the first answer (no check): " + distribution(self.answered_after)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--server", default=str(HERE.parent.parent / "build/release/perdure"), metavar="PROGRAM", help="the program to test")
    option("--seed", type=int, default=None, help="default: a new one each time")
    option("--cuts", type=int, help="at least so many; default 50, short 3")
    option("--round", type=int, metavar="SECONDS", help="how long one client works; default 90, short 12")
    option("--interval", type=float, metavar="SECONDS", help="the longest time of work between two cuts; default 5, short 3")
    option("--disks", help="which, in turn; default ubd,volatile, short volatile")
    option("--fs", default="ext4", choices=MAKE, help="the file system under the data directory; default %(default)s")
    option("--images", default="/dev/shm", metavar="DIR", help="where the disks' files are made (2 GiB); default %(default)s")
    option("--short", action="store_true", help="the form for every day")
    option("--keep", action="store_true", help="keep the disks and the logs, as after a failure")
    option("--verbose", action="store_true")
    options = parser.parse_args()
    for name, (long, short) in FORMS.items():
        if getattr(options, name) is None:
            setattr(options, name, short if options.short else long)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 30)
    if not set(options.disks.split(",")) <= set(DISKS):
        parser.error(f"disks are {', '.join(DISKS)}")
    return options


def main():
    options = parse()
    if os.geteuid() != 0 and shutil.which("sudo"):  # for the network device
        os.execvp("sudo", ["sudo", sys.executable, *sys.argv])

    def stop(signal_number, _):
        raise SystemExit(128 + signal_number)

    signal.signal(signal.SIGTERM, stop)
    print(f"power: seed {options.seed}", flush=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="perdure-power.", dir=options.images))
    power = Power(options, directory)
    good = False
    try:
        power.run()
        good = True
    except (GuestError, ServerError, OSError, subprocess.SubprocessError) as problem:
        print(f"power: FAILED: {problem}\npower: disks, messages and the guest's console are in {directory}", flush=True)
    for line in power.report():
        print(f"power: {line}", flush=True)
    if good and not options.keep:
        shutil.rmtree(directory)
    print("power: " + ("good" if good else "FAILED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
