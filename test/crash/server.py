"""Perdure as the crash test runs it: the guardian with the server process, on sockets that belong to the test.

The test plays systemd's part and hands over the listening sockets. So they stay open even while the guardian itself is
dead, and no client is ever refused.
"""
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

from processes import child_of, is_alive

CONFIG = """\
[server]
memory_bytes = "256MiB"
crashes_max = 1000000
hang_seconds = 5

[vserver]
log_bytes = "128MiB"
blocks_step_bytes = "32MiB"
# Small, so that kills also fall into checkpoints.
checkpoint_records_max = 20000
checkpoint_bytes_max = "32MiB"

[[export]]
path = "/"
squash = "none"
clients = ["0.0.0.0/0", "::/0"]
"""

PATIENCE_SECONDS = 120


class ServerError(Exception):
    pass


class Server:
    def __init__(self, program, directory, address):
        self.program = pathlib.Path(program).resolve()
        self.data = pathlib.Path(directory) / "data"
        self.messages = pathlib.Path(directory) / "server.log"
        self.data.mkdir()
        (self.data / "perdure.toml").write_text(CONFIG)
        self.listening = socket.create_server((address, 0), backlog=4096)
        self.address = address
        self.port = self.listening.getsockname()[1]
        self.guardian = None

    def start(self):
        # The shell's process id becomes the guardian's, so that LISTEN_PID is right before it is executed. Sockets that
        # systemd hands over begin at 3.
        script = f'LISTEN_FDS=1 LISTEN_PID=$$ exec setpriv --pdeathsig KILL "$@" 3<&{self.listening.fileno()}'
        with open(self.messages, "ab") as messages:
            self.guardian = subprocess.Popen(
                ["bash", "-c", script, "bash", str(self.program), "serve", "--data", str(self.data)],
                pass_fds=[self.listening.fileno()], stdin=subprocess.DEVNULL, stdout=messages, stderr=subprocess.STDOUT)

    def process(self):
        """The process id of the server process, or None while there is none."""
        return child_of(self.guardian.pid)

    def wait_for_process(self):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (pid := self.process()) is None:
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServerError("the guardian does not start a server process")
            time.sleep(0.001)
        return pid

    def check_alive(self):
        if self.guardian.poll() is not None:
            raise ServerError(f"the guardian ended with status {self.guardian.returncode}:\n{self.last_messages()}")

    def kill(self, signal_number=signal.SIGKILL):
        """Sends a signal to the server process; the guardian starts another one. Returns the process id, and when."""
        pid = self.wait_for_process()
        os.kill(pid, signal_number)
        return pid, time.monotonic()

    def is_successor(self, pid):
        """Whether a server process other than this one is there."""
        return self.process() not in (None, pid)

    def first_answer(self):
        """Waits until a request on a new connection is answered. Returns when."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.ask_null()
                return time.monotonic()
            except (OSError, ServerError) as problem:  # it was killed once more
                self.check_alive()
                if time.monotonic() > deadline:
                    raise ServerError(f"nothing is answered: {problem}\n{self.last_messages()}") from problem
                time.sleep(0.001)

    def ask_null(self):
        ask_null("127.0.0.1" if self.address == "0.0.0.0" else self.address, self.port, PATIENCE_SECONDS)

    def status(self):
        """What the server says of itself, or None if it is not there at this moment."""
        result = subprocess.run([str(self.program), "status", "--json", str(self.data)], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True, timeout=PATIENCE_SECONDS)
        return json.loads(result.stdout) if result.returncode == 0 else None

    def in_flight(self):
        """The transactions in flight, straight from the server's control socket; empty if it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE_SECONDS)
                connection.connect(str(self.data / "control.sock"))
                connection.sendall(b"status\n")
                text = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            return json.loads(text)["transactions"]["in_flight"]
        except (OSError, ValueError):
            return []

    def kill_all(self):
        """Kills the guardian, and with it the server process; returns when both are dead."""
        pid = self.wait_for_process()
        self.guardian.kill()
        self.guardian.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while is_alive(pid):
            if time.monotonic() > deadline:
                raise ServerError("the server process outlives its guardian")
            time.sleep(0.001)

    def stop(self):
        """A clean stop; raises if it is not clean."""
        self.guardian.send_signal(signal.SIGTERM)
        status = self.guardian.wait(PATIENCE_SECONDS)
        if status != 0:
            raise ServerError(f"a clean stop ended with status {status}:\n{self.last_messages()}")

    def close(self):
        if self.guardian and self.guardian.poll() is None:
            self.guardian.kill()
            self.guardian.wait()
        self.listening.close()

    def last_messages(self):
        return "\n".join(self.messages.read_text(errors="replace").splitlines()[-20:])

    def check(self, directory, *options):
        """Runs the consistency checker on a data directory; raises if it finds anything."""
        result = subprocess.run([str(self.program), "check", str(directory), *options], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            raise ServerError(f"perdure check {directory}: status {result.returncode}\n{result.stdout[-4000:]}")


def ask_null(address, port, seconds_max):
    """One call of NFS's procedure NULL. Raises unless it is answered."""
    call = struct.pack(">IIIIIIIIII", 0x7065, 0, 2, 100003, 4, 0, 0, 0, 0, 0)
    with socket.create_connection((address, port), timeout=seconds_max) as connection:
        connection.sendall(struct.pack(">I", 1 << 31 | len(call)) + call)
        reply = connection.recv(100)
        if len(reply) < 28 or reply[4:8] != call[:4]:
            raise ServerError("no reply")

