"""The disks whose power is cut. Each has its content in a file of the host, and says in what it loses when the guest dies."""
import dataclasses
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

SECTOR = 512


@dataclasses.dataclass
class Loss:
    """Of writes that were completed, but not durable yet."""
    writes: int = 0
    bytes_at_risk: int = 0
    bytes_lost: int = 0
    how: str = ""


class UbdDisk:
    """User-mode Linux's own block device. What the guest's kernel has handed to it and it has written into the file stays;
    what is in the guest's page cache or waits in its queues is lost. The write that the cut interrupts may be torn between
    two pages. A write that was completed is never lost, flushed or not: for that there is VolatileDisk."""

    NAME = "ubd"

    def __init__(self, directory, size, make, _random, _address):
        self.image = directory / "disk"
        make_image(self.image, size, make)
        self.files = [self.image]

    @property
    def device(self):
        return "/dev/ubda"

    def connect(self):
        pass

    def has_loose(self):
        """Whether it has completed writes that a cut could lose; True if that is never so."""
        return True

    def cut(self):
        return Loss()

    def close(self):
        self.image.unlink(missing_ok=True)


class VolatileDisk:
    """A disk with a volatile write cache, as a server of the NBD protocol to which the guest attaches.

    A write is durable once a flush that was asked for after the write's completion is completed, which takes its time, or
    if it was asked for with FUA. Of all others a cut of the power keeps or loses whatever it likes: all, nothing, single writes in any order,
    single sectors. Requests that are under way at the same time are executed in any order. So every state is possible that
    a real disk may be in after a power cut, and none beside.
    """

    NAME = "volatile"
    READ, WRITE, DISCONNECT, FLUSH, TRIM = range(5)
    FUA = 1 << 16
    REQUEST = struct.Struct(">IIQQI")
    REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
    EIO = 5
    FLUSH_SECONDS = [0.001, 0.005, 0.02]

    def __init__(self, directory, size, make, seeds, address):
        self.files = []  # for the guest to open
        self.image = directory / "disk"             # what is durable
        self.newest = directory / "disk.newest"     # what reads see
        make_image(self.image, size, make)
        subprocess.run(["cp", "--sparse=always", self.image, self.newest], check=True)
        self.size = size
        self.random = random.Random(seeds.randrange(1 << 30))
        self.durable_file = os.open(self.image, os.O_RDWR | os.O_CLOEXEC)
        self.newest_file = os.open(self.newest, os.O_RDWR | os.O_CLOEXEC)
        self.cached = []      # (offset, data, whether FUA), in the order of their execution, since
        self.first = 0        # this one of all writes
        self.loose = 0        # how many of them are without FUA
        self.flushes = []     # under way: (when it ends, before which write, the reply)
        self.listening = socket.create_server((address, 0))
        self.thread = None
        self.wake, self.woken = socket.socketpair()
        self.problem = None

    @property
    def device(self):
        return "{}:{}".format(*self.listening.getsockname())

    def connect(self):
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def has_loose(self):
        return self.loose > 0

    def cut(self):
        """The guest is dead. Decides what stays of what was not durable; returns what it did."""
        self.wake.close()
        self.thread.join()
        self.woken.close()
        if self.problem:
            raise self.problem
        by, share = self.random.choice([("all", 1), ("all", 0), ("write", 0.1), ("write", 0.5), ("write", 0.9),
                                        ("sector", 0.1), ("sector", 0.5), ("sector", 0.9)])
        kept = 0
        for offset, data, fua in self.cached:
            part = SECTOR if by == "sector" and not fua else len(data)
            for at in range(0, len(data), part):
                if fua or self.random.random() < share:
                    os.pwrite(self.durable_file, data[at:at + part], offset + at)
                    kept += 0 if fua else part
        for offset, data, _ in self.cached:
            os.pwrite(self.newest_file, os.pread(self.durable_file, len(data), offset), offset)
        loose = [len(data) for _, data, fua in self.cached if not fua]
        self.first += len(self.cached)
        self.cached, self.flushes, self.loose = [], [], 0
        return Loss(len(loose), sum(loose), sum(loose) - kept, f"{by} {share}")

    def close(self):
        self.listening.close()
        for file in (self.durable_file, self.newest_file):
            os.close(file)
        for path in (self.image, self.newest):
            path.unlink(missing_ok=True)

    def _serve(self):
        try:
            select.select([self.listening, self.woken], [], [])
            if select.select([self.woken], [], [], 0)[0]:
                return
            connection, _ = self.listening.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(struct.pack(">Q", self.size))
                self._execute(connection)
        except OSError:
            pass  # the guest is gone
        except Exception as problem:
            self.problem = problem

    def _execute(self, connection):
        received = bytearray()
        waiting = []
        while True:
            # Requests that came together are under way together.
            patience = 0 if waiting else max(0, min(self.flushes)[0] - time.monotonic()) if self.flushes else None
            ready, _, _ = select.select([connection, self.woken], [], [], patience)
            if self.woken in ready:
                return
            if ready:
                data = connection.recv(1 << 20)
                if not data:
                    return
                received += data
                while (request := self._take(received)) is not None:
                    waiting.append(request)
            if waiting:
                connection.sendall(self._answer(*waiting.pop(self.random.randrange(len(waiting)))))
            while self.flushes and min(self.flushes)[0] <= time.monotonic():
                connection.sendall(self._end_flush())

    def _take(self, received):
        """The first whole request, taken out of what was received; None if there is none yet."""
        if len(received) < self.REQUEST.size:
            return None
        magic, command, handle, offset, length = self.REQUEST.unpack_from(received)
        if magic != self.REQUEST_MAGIC:
            raise ValueError("not a request of NBD")
        data_length = length if command & 0xffff == self.WRITE else 0
        if len(received) < self.REQUEST.size + data_length:
            return None
        data = bytes(received[self.REQUEST.size:self.REQUEST.size + data_length])
        del received[:self.REQUEST.size + data_length]
        return command, handle, offset, length, data

    def _answer(self, command, handle, offset, length, data):
        error, result = 0, b""
        what = command & 0xffff
        if what == self.READ:
            result = os.pread(self.newest_file, length, offset)
        elif what == self.WRITE:
            os.pwrite(self.newest_file, data, offset)
            fua = bool(command & self.FUA)
            self.cached.append((offset, data, fua))
            self.loose += not fua
        elif what == self.FLUSH:
            end = time.monotonic() + self.random.choice(self.FLUSH_SECONDS) * self.random.random()
            self.flushes.append((end, self.first + len(self.cached), struct.pack(">IIQ", self.REPLY_MAGIC, 0, handle)))
            return b""
        else:
            error = self.EIO
        return struct.pack(">IIQ", self.REPLY_MAGIC, error, handle) + result

    def _end_flush(self):
        flush = min(self.flushes)
        self.flushes.remove(flush)
        _, before, reply = flush
        covered = max(0, before - self.first)
        for offset, data, fua in self.cached[:covered]:
            os.pwrite(self.durable_file, data, offset)
            self.loose -= not fua
        del self.cached[:covered]
        self.first += covered
        return reply


def make_image(path, size, make):
    """An empty file system in a file; `make` is the command that makes one."""
    with open(path, "wb") as file:
        file.truncate(size)
    subprocess.run([*make, str(path)], check=True, stdout=subprocess.DEVNULL)


DISKS = {disk.NAME: disk for disk in (UbdDisk, VolatileDisk)}
