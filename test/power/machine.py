"""The machine whose power is cut: a guest that runs `perdure serve` on a disk of its own."""
import io
import pathlib
import re
import shutil
import time

from guest import Guest, GuestError
from server import ServerError, ask_null

HERE = pathlib.Path(__file__).resolve().parent
PORT = 2049
PATIENCE_SECONDS = 300
BOOT_SECONDS_MAX = 300  # to the first sign of life; three are usual

CONFIG = """\
[server]
listen = ["0.0.0.0:2049"]
memory_bytes = "128MiB"
# The guest's processor is an emulated one.
hang_seconds = 30

[vserver]
log_bytes = "64MiB"
blocks_step_bytes = "16MiB"
# Small, so that cuts also fall into checkpoints.
checkpoint_records_max = 3000
checkpoint_bytes_max = "8MiB"

[[export]]
path = "/"
squash = "none"
clients = ["0.0.0.0/0"]
"""


# What no power cut may do to a file system.
COMPLAINTS = re.compile(r"EXT4-fs error|EXT4-fs warning|XFS .*(?:orrupt|rror)|I/O error|JBD2: .*(?:rror|orrupt)")


# A signal to one of the guest's processes, from whoever it may be, is the end of its kernel.
DEATHS = re.compile(r"Kernel panic|wait_stub_done : failed|child stopped with signal|ptrace set fp regs failed")


class KernelDied(Exception):
    """The guest's kernel did not boot, or died. That is an emulated machine's right, and a power cut of its own kind."""


class Machine:
    def __init__(self, program, directory, slot, disk):
        self.directory = directory
        self.slot = slot
        self.disk = disk
        self.share = directory / "share"
        self.share.mkdir(exist_ok=True)
        # A copy: the guest has a /tmp of its own, and who builds meanwhile changes nothing.
        self.program = shutil.copy(program, self.share / "perdure")
        self.config = self.share / "perdure.toml"
        self.config.write_text(CONFIG)
        self.messages = open(directory / "server.log", "ab")
        self.guest = None
        self.output = None
        self.booted_at = 0

    @property
    def address(self):
        return self.slot.guest_address

    def boot(self, check):
        """Switches it on. With `check` the data are looked through before they are served."""
        self.disk.connect()
        self.output = io.BytesIO()
        self.messages.write(f"---- boot at {time.time():.3f}\n".encode())
        self.guest = Guest(
            self.slot, [str(HERE / "serve.sh"), str(self.program), str(self.config), self.disk.device,
                        "check" if check else "straight"],
            export=None, name="server", memory="512M", shares=[self.share], disks=self.disk.files, stdout=self.output,
            stderr=self.messages)
        self.guest.start()
        self.booted_at = time.monotonic()

    def look_after(self):
        """Raises if it is not as it should be."""
        try:
            status = self.guest.poll()
        except GuestError as problem:
            raise KernelDied(str(problem)) from problem
        if death := DEATHS.search((self.guest.work / "console").read_text(errors="replace")):
            raise KernelDied(death.group())
        if not self.guest.events and time.monotonic() - self.booted_at > BOOT_SECONDS_MAX:
            raise KernelDied("does not boot")
        if status is not None or self.word("failed:") or self.word("checked") not in ("0", None):
            raise ServerError(f"the server's machine ended with status {status}, having said:\n{self.said()}\n"
                              f"{self.last_messages()}")

    def said(self):
        return self.output.getvalue().decode(errors="replace")

    def word(self, event, number=1):
        """A word of the line that begins with `event`, or None."""
        for words in map(str.split, self.said().splitlines()):
            if words and words[0] == event:
                return words[number]
        return None

    def wait_for_event(self, event):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.word(event, 0) is None:
            self.look_after()
            if time.monotonic() > deadline:
                raise ServerError(f"the server's machine does not get as far as '{event}'")
            time.sleep(0.02)

    def wait_for_answer(self):
        """Waits until a request is answered."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.look_after()
            try:
                return ask_null(self.address, PORT, 1)
            except (OSError, ServerError) as problem:
                if time.monotonic() > deadline:
                    raise ServerError(f"nothing is answered: {problem}\n{self.last_messages()}") from problem
                time.sleep(0.02)

    def cut(self):
        """Cuts the power. Returns the disk's Loss."""
        self.guest.kill()
        self.guest.pass_on()
        console = (self.guest.work / "console").read_text(errors="replace")
        (self.directory / "console").write_text(console)
        self.guest.close()
        self.guest = None
        loss = self.disk.cut()
        self.messages.write(f"---- cut at {time.time():.3f}: {loss}\n".encode())
        self.messages.flush()
        if complaint := COMPLAINTS.search(console):
            raise ServerError(f"the guest's kernel complains: {complaint.group()}\n{console[-3000:]}")
        return loss

    def close(self):
        if self.guest:
            self.cut()
        self.messages.close()

    def last_messages(self):
        self.messages.flush()
        return "\n".join((self.directory / "server.log").read_text(errors="replace").splitlines()[-30:])
