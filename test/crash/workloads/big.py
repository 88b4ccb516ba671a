"""Files of many blocks: written, overwritten in pieces so that they become fragmented, synced, renamed over each other, cut
and removed. Each of these takes the server several steps, and a kill in between."""
import os
import time

from .workload import check, drop_caches, repeat, write_all

CHUNK = 1 << 20
PAGE = 4096
LEFT_OVER_SECONDS_MAX = 60


class BigFile:
    def __init__(self, options, path, size):
        self.options = options
        self.path = path
        self.content = bytearray(size)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def write(self, offset, data):
        self.content[offset:offset + len(data)] = data
        write_all(self.fd, data, offset)
        self.options.alive()

    def fill(self, random):
        for offset in range(0, len(self.content), CHUNK):
            self.write(offset, random.randbytes(min(CHUNK, len(self.content) - offset)))
        os.fsync(self.fd)

    def fragment(self, random):
        first = random.randrange(len(self.content) // 2)
        for offset in range(first, min(first + 2 * CHUNK, len(self.content) - PAGE), 2 * PAGE):
            self.write(offset, random.randbytes(random.choice((PAGE, PAGE, 500))))
        os.fsync(self.fd)

    def cut(self, size):
        os.ftruncate(self.fd, size)
        del self.content[size:]
        os.fsync(self.fd)

    def compare(self):
        size = os.stat(self.path).st_size
        check(size == len(self.content), f"{self.path}: size {size}, not {len(self.content)}")
        for offset in range(0, size, CHUNK):
            data = os.pread(self.fd, CHUNK, offset)
            expected = self.content[offset:offset + CHUNK]
            if data != expected:
                at = next((i for i, (a, b) in enumerate(zip(data, expected)) if a != b), len(data))
                check(False, f"{self.path}: differs from {offset + at} on: {data[at:at + 16].hex()}, expected "
                      f"{expected[at:at + 16].hex()}")
            self.options.alive()


def wait_until_empty():
    """With NFSv4.0 the client gives a removed file that is open another name, and removes that one after the last close."""
    deadline = time.monotonic() + LEFT_OVER_SECONDS_MAX
    while left := os.listdir():
        check(time.monotonic() < deadline and all(name.startswith(".nfs") for name in left), f"left over: {left}")
        time.sleep(0.01)


def main(options):
    size = options.scale * CHUNK

    def one_round(random, number):
        first = BigFile(options, f"first{number}", size)
        second = BigFile(options, f"second{number}", size)
        for file in (first, second):
            file.fill(random)
            file.fragment(random)
        drop_caches()
        first.compare()
        os.rename(second.path, first.path)
        second.path = first.path
        os.close(first.fd)
        second.cut(random.randrange(size // 2, size))
        second.fragment(random)
        drop_caches()
        second.compare()
        os.unlink(second.path)
        os.close(second.fd)
        wait_until_empty()

    rounds = repeat(options, one_round)
    return f"{2 * rounds} files of {options.scale} MiB"
