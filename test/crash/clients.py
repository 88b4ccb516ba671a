"""The part of the crash test with real Linux clients: workloads in guests while the server is killed."""
import collections
import select
import shutil
import sys
import time

from paths import HERE
from guest import Guest, Slot
from figures import distribution, quantile
from kills import COPY, HANG, KINDS, Killer
from server import Server

WORKLOADS = ["git", "tar", "fileops", "big", "ranges", "copies", "acls", "names", "locks", "shared", "pinger"]
WORKLOADS_OF_VERSION_42 = ["ranges", "copies"]
# The second client is there for its locks, and to see that clients do not disturb each other.
WORKLOADS_OF_OTHERS = ["names", "locks", "shared", "pinger"]
# As they run beside each other on an emulated processor, everything may take long; but not for ever.
START_SECONDS_MAX = 600


class Failure(Exception):
    pass


class Clients:
    def __init__(self, options, random, directory):
        self.options = options
        self.random = random
        self.directory = directory
        self.share = directory / "share"
        self.share.mkdir()
        self.guests = []
        self.expected = []  # the files by which workloads say that they have started
        self.killer = None
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
                self.killer = Killer(self.server, self.random, self.directory, self.options.check)
            for number, slot in enumerate(slots):
                self.guests.append(self.start_guest(number, slot))
            self.wait_for_start()
            self.kill_and_wait()
            self.finish()
        except BaseException:
            for guest in self.guests:
                if guest.status is None and guest.process.poll() is None:
                    guest.write_blocked()
                shutil.copy(guest.work / "console", self.directory / f"{guest.name}.console")
            raise
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
        if self.options.vers != "4.2":
            workloads = [w for w in workloads if w not in WORKLOADS_OF_VERSION_42]
        if self.options.workloads:
            workloads = [w for w in workloads if w in self.options.workloads.split(",")]
        self.expected += [self.share / f"{name}.{workload}.started" for workload in workloads]
        host, port, export = None, self.server and self.server.port, "/"
        if self.options.against:
            *hosts, port, export = self.options.against.split(":")
            host = hosts[0] if hosts else None
        guest = Guest(
            slot, [str(HERE / "in_guest.py"), "--share", str(self.share), "--guest", name, "--seed",
                   str(self.options.seed + number), "--scale", str(self.options.scale), "--member", str(number),
                   "--members", str(self.options.guests), *workloads],
            server=host, port=port, export=export, version=self.options.vers, name=name, memory="768M", shares=[self.share],
            verbose=self.options.verbose)
        guest.start()
        return guest

    def wait_for_start(self):
        begin = time.monotonic()
        while missing := [file.name for file in self.expected if not file.exists()]:
            self.look_after()
            if time.monotonic() - begin > START_SECONDS_MAX:
                raise Failure(f"after {START_SECONDS_MAX} s there is still no {' '.join(missing)}")
            time.sleep(0.05)
        print(f"crash: {len(self.guests)} Linux clients are at work after {time.monotonic() - begin:.0f} s", flush=True)

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
            if self.options.stop_on_eof and select.select([sys.stdin], [], [], 0)[0] and not sys.stdin.buffer.read1(1):
                return True
            time.sleep(min(0.05, max(0, end - time.monotonic())))
        return True

    def kill_and_wait(self):
        """All kills, or as many as fit into --seconds, where that is given."""
        options = self.options
        if not self.server:
            self.pass_time(options.seconds or 30)
            return
        kinds = self.random.choices(list(KINDS), KINDS.values(), k=options.kills - options.copies - options.hangs)
        kinds += [COPY] * options.copies + [HANG] * options.hangs
        self.random.shuffle(kinds)
        deadline = time.monotonic() + options.seconds if options.seconds else None
        while kinds and (deadline is None or time.monotonic() < deadline):
            if not self.pass_time(self.random.uniform(0.5, options.interval)):
                return
            self.killer.do(kinds.pop())
        self.pass_time(1)

    def finish(self):
        (self.share / "stop").touch()
        begin = time.monotonic()
        while not self.look_after():
            if time.monotonic() - begin > self.options.finish_seconds:
                raise Failure(f"the workloads have not finished after {self.options.finish_seconds} s: " + ", ".join(
                    file.stem for file in self.expected if not file.with_suffix(".log").read_text()))
            time.sleep(0.05)
        if self.server:
            self.server.stop()
            if self.options.check:
                self.server.check(self.server.data, "--data")

    @staticmethod
    def pauses_of(kill, kills, calls):
        """How long the calls took that fell into this kill, but not into one that takes longer by its nature."""
        def falls_into(call, other):
            begin, took = call
            return begin - 0.3 < other.at < begin + took
        others = [other for other in kills if other is not kill]
        return [call[1] for call in calls
                if falls_into(call, kill) and not any(falls_into(call, other) for other in others)]

    def report(self):
        kills = self.killer.kills if self.killer else []
        kinds = {kind: sum(kill.kind == kind for kill in kills) for kind in [*KINDS, COPY, HANG]}
        yield f"{len(kills)} kills: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        plain = [kill for kill in kills if kill.kind in ("SIGKILL", "SIGSEGV", "in step")]
        early = [kill for kill in plain if kill.early]
        # Where the guardian restarts the server process at once.
        plain = [kill for kill in plain if not kill.early]
        yield "from kill to first answer: " + distribution([1000 * kill.to_answer for kill in plain])
        yield "the same, soon after another: " + distribution([1000 * kill.to_answer for kill in early])
        calls = [tuple(map(float, line.split()[:2])) for file in self.share.glob("*.slow")
                 for line in file.read_text().splitlines()]
        pauses = [1000 * max(times) for times in (self.pauses_of(kill, kills, calls) for kill in plain) if times]
        yield "pause that a program in a client saw: " + distribution(pauses)
        others = sorted(1000 * took for begin, took in calls
                        if not any(begin - 3 < kill.at < begin + took for kill in kills))
        if others:
            yield (f"slow calls of that program (above 30 ms) without any kill: {len(others)}, median "
                   f"{quantile(others, 0.5):.0f} ms, longest {others[-1]:.0f} ms")
        caught = collections.Counter(kill.caught for kill in kills if kill.caught)
        if caught:
            yield "killed between two steps of: " + ", ".join(f"{name} {n}" for name, n in sorted(caught.items()))
        restored = [kill.restoration for kill in kills if kill.restoration]
        yield "restoration: " + distribution([figures["total_ms"] for figures in restored])
        yield "records redone: " + distribution([figures["records_redone"] for figures in restored], "records")
        redo_seconds = sum(figures["redo_ms"] for figures in restored) / 1000
        if redo_seconds:
            yield (f"in all {sum(figures['records_redone'] for figures in restored)} records, "
                   f"{sum(figures['bytes_redone'] for figures in restored) >> 20} MiB in {redo_seconds:.2f} s of redo; "
                   f"{sum(figures['transactions_resumed'] for figures in restored)} transactions resumed")
