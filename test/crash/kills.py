"""The ways in which the server is killed, and what each cost."""
import shutil
import signal
import subprocess
import time

# How a kill is done, and how often of 20.
KINDS = {
    "SIGKILL": 12,   # of the server process, while everything is at work
    "again": 4,      # another one while it restores
    "SIGSEGV": 2,    # a crash
    "guardian": 2,   # of the guardian, and with it of the server process; somebody else starts both
}
HANG = "SIGSTOP"     # a hang: the guardian's patience is what it takes
COPY = "copy"        # as "guardian", and what is on disk then is copied and examined


class Kill:
    def __init__(self, kind):
        self.kind = kind
        self.at = time.time()     # for comparison with the clients' clocks
        self.to_answer = None     # seconds until the first answer
        self.restoration = None   # figures of the server itself


class Killer:
    def __init__(self, server, random, directory, checks):
        self.server = server
        self.random = random
        self.copies = directory / "copies"
        self.checks = checks
        self.kills = []

    def some(self):
        """One kill, of a kind by chance."""
        kind = self.random.choices(list(KINDS), KINDS.values())[0]
        self.do(kind)

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
        else:
            pid, killed = self.server.kill(getattr(signal, kind))
            if kind == HANG:
                while not self.server.is_successor(pid):
                    self.server.check_alive()
                    time.sleep(0.01)
        kill.to_answer = self.server.first_answer() - killed
        status = self.server.status()
        kill.restoration = status and status["restoration"]
        self.kills.append(kill)

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
