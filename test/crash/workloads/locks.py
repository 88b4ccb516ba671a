"""Processes, on one client or several, count in one file, each under a lock on a range of bytes. A lock that is lost or
held twice shows as a sum that is not right, or as an error.

Each guest is one member. The file: the counter, then for each worker its own count and whether it has finished, 8
bytes each.
"""
import errno
import fcntl
import os
import random
import struct
import time

from .workload import Wrong, check

WORKERS = 2
FILE = "counter"
PATIENCE_SECONDS = 300


class Lock:
    def __init__(self, fd, start, length):
        self.fd, self.start, self.length = fd, start, length

    def __enter__(self):
        # Asking again and again: a client that waits inside the kernel polls with seconds in between.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, self.length, self.start)
                return
            except OSError as problem:
                if problem.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            check(time.monotonic() < deadline, f"no lock for {PATIENCE_SECONDS} s")
            time.sleep(random.uniform(0, 0.02))

    def __exit__(self, *_):
        fcntl.lockf(self.fd, fcntl.LOCK_UN, self.length, self.start)


def get(fd, place):
    return struct.unpack("<Q", os.pread(fd, 8, 8 * place).ljust(8, b"\0"))[0]


def put(fd, place, value):
    os.pwrite(fd, struct.pack("<Q", value), 8 * place)


def count(options, worker, workers):
    """Counts under the lock until it is time to stop."""
    fd = os.open(FILE, os.O_RDWR | os.O_CREAT, 0o644)
    mine, done = 1 + 2 * worker, 2 + 2 * worker
    increments = 0
    while increments < 5 or not options.stopped():
        # Another range, which each worker has for itself, so that a client has several locks on the file.
        with Lock(fd, 10_000 + worker, 1), Lock(fd, 0, 8 * (1 + 2 * workers)):
            check(get(fd, mine) == increments, f"worker {worker}: its count is {get(fd, mine)}, not {increments}")
            value = get(fd, 0)
            increments += 1
            put(fd, mine, increments)
            if random.random() < 0.3:
                time.sleep(0.005)  # so that others come while it is held
            check(get(fd, 0) == value, f"worker {worker}: somebody else counted under the lock")
            put(fd, 0, value + 1)
    with Lock(fd, 0, 8 * (1 + 2 * workers)):
        put(fd, done, 1)
    os.close(fd)


def main(options):
    workers = WORKERS * options.members
    children = []
    for i in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            try:
                count(options, options.member * WORKERS + i, workers)
                os._exit(0)
            except (Wrong, OSError) as problem:
                print(f"worker {options.member * WORKERS + i}: {problem}", flush=True)
                os._exit(1)
        children.append(pid)
    for pid in children:
        check(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "a worker failed")
    if options.member != 0:
        return "counted"
    fd = os.open(FILE, os.O_RDWR)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with Lock(fd, 0, 8 * (1 + 2 * workers)):
            finished = [get(fd, 2 + 2 * worker) for worker in range(workers)]
            counts = [get(fd, 1 + 2 * worker) for worker in range(workers)]
            total = get(fd, 0)
        if all(finished):
            break
        check(time.monotonic() < deadline, f"not all workers finished: {finished}")
        time.sleep(0.2)
    check(total == sum(counts), f"the counter is {total}, the sum of {counts} is {sum(counts)}")
    return f"{total} increments by {workers} workers, none lost"

