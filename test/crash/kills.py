"""The ways in which the server is killed, and what each cost."""
import shutil
import signal
import subprocess
import time

# How a kill is done, and how often of 21.
KINDS = {
    "SIGKILL": 10,   # of the server process, while everything is at work
    "again": 3,      # another one while it restores
    "in step": 4,    # while a transaction is between two of its steps, if one can be found
    "SIGSEGV": 2,    # a crash
    "guardian": 2,   # of the guardian, and with it of the server process; somebody else starts both
}
EARLY_SECONDS = 1.2  # a bit more than the guardian's own limit
HANG = "SIGSTOP"     # a hang: the guardian's patience is what it takes
COPY = "copy"        # as "guardian", and what is on disk then is copied and examined


class Kill:
    def __init__(self, kind):
        self.kind = kind
        self.at = time.time()     # for comparison with the clients' clocks
        self.to_answer = None     # seconds until the first answer
        # Whether the process had just begun to serve. After some of these the guardian waits on purpose, lest a crash
        # loop takes the whole machine.
        self.early = False
        self.restoration = None   # figures of the server itself
        self.caught = None        # the transaction that was in flight, of "in step"


class Killer:
    def __init__(self, server, random, directory, checks):
        self.server = server
        self.random = random
        self.copies = directory / "copies"
        self.checks = checks
        self.kills = []
        self.served_since = time.monotonic()

    def do(self, kind):
        kill = Kill(kind)
        if kind == "guardian":
            self.server.kill_all()
            killed = time.monotonic()
            self.server.start()
        elif kind == COPY:
            killed = time.monotonic()
            self.kill_and_copy(kill)
        elif kind == "again":
            pid, _ = self.server.kill()
            while not self.server.is_successor(pid):
                self.server.check_alive()
                time.sleep(0.001)
            time.sleep(self.random.uniform(0, 0.1))
            kill.at = time.time()
            _, killed = self.server.kill()
        elif kind == "in step":
            kill.caught = self.wait_for_step()
            kill.at = time.time()
            _, killed = self.server.kill()
        else:
            pid, killed = self.server.kill(getattr(signal, kind))
            if kind == HANG:
                while not self.server.is_successor(pid):
                    self.server.check_alive()
                    time.sleep(0.01)
        kill.early = killed - self.served_since < EARLY_SECONDS
        self.served_since = self.server.first_answer()
        kill.to_answer = self.served_since - killed
        status = self.server.status()
        kill.restoration = status and status["restoration"]
        self.kills.append(kill)

    def wait_for_step(self):
        """Until a transaction stands between two steps. Its name, or None if there has been none for some seconds."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for transaction in self.server.in_flight():
                # Write-back and the freeing of blocks are not logged: they begin again by themselves.
                if transaction["step"] != 0 and transaction["operation"] not in ("write_back", "free_blocks"):
                    return transaction["operation"]
            time.sleep(0.0005)
        return None

    def kill_and_copy(self, kill):
        self.server.kill_all()
        kill.at = time.time()
        copy = self.copies / str(len(self.kills))
        self.copies.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", self.server.data, copy], check=True)
        self.server.start()
        self.server.first_answer()
        if self.checks:
            self.server.check(copy, "--data")
        shutil.rmtree(copy)
