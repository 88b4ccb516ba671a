"""One file that the first client writes and all of them read: what they are delegated of it is called back again and
again. The numbers in it only grow, for everybody who looks."""
import os
import time

from .workload import check

FILE = "number"
DIGITS = 12
# Longer than the server waits before it delegates a file again that somebody was waiting for.
PAUSE_SECONDS = 11


def write(number):
    fd = os.open(FILE, os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwrite(fd, b"%0*d" % (DIGITS, number), 0)
    os.close(fd)


def read():
    with open(FILE, "rb") as file:
        text = file.read()
    check(len(text) in (0, DIGITS), f"{len(text)} bytes: {text[:40]}")
    return int(text or b"0")


def main(options):
    last = reads = 0
    written = time.monotonic()
    if options.member == 0:
        write(1)
    while not os.path.exists(FILE):
        options.alive()
        time.sleep(0.1)
    while reads == 0 or not options.stopped():
        for _ in range(50):
            number = read()
            check(number >= last, f"{number} after {last}")
            last, reads = number, reads + 1
        time.sleep(0.05)
        if options.member == 0 and time.monotonic() - written > PAUSE_SECONDS:
            write(last + 1)
            check(read() == last + 1, "somebody else has written")
            written = time.monotonic()
    return f"{reads} reads, up to number {last}"
