"""Random reads, writes, appends, truncations and mappings of a few files, compared with what they must hold."""
import mmap
import os

from .workload import check, drop_caches, repeat

FILES = 4
BYTES_MAX = 1 << 20
CHUNK_MAX = 64 << 10
OPERATIONS = 15  # in one round, times the scale


class ModelledFile:
    """A file and its content as it must be."""

    def __init__(self, path):
        self.path = path
        self.content = bytearray()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def reopen(self, random):
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR | (os.O_SYNC if random.random() < 0.2 else 0))

    def place(self, random):
        offset = random.randrange(BYTES_MAX)
        if random.random() < 0.3:
            offset -= offset % 4096
        return offset, random.randint(1, min(CHUNK_MAX, BYTES_MAX - offset))

    def write(self, random):
        offset, length = self.place(random)
        data = random.randbytes(length)
        if offset > len(self.content):
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset:offset + length] = data
        while data:
            written = os.pwrite(self.fd, data, offset)
            data, offset = data[written:], offset + written

    def append(self, random):
        data = random.randbytes(random.randint(1, CHUNK_MAX // 4))
        if len(self.content) + len(data) > BYTES_MAX:
            return
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            written = os.write(fd, data)
        finally:
            os.close(fd)
        check(written == len(data), f"{self.path}: appended {written} of {len(data)} bytes")
        self.content.extend(data)

    def read(self, random):
        offset, length = self.place(random)
        self.compare(offset, length, os.pread(self.fd, length, offset))

    def truncate(self, random):
        size = random.randrange(BYTES_MAX) if random.random() < 0.8 else 0
        os.ftruncate(self.fd, size)
        self.content = self.content[:size] + bytes(size - min(size, len(self.content)))
        check(os.fstat(self.fd).st_size == size, f"{self.path}: size {os.fstat(self.fd).st_size}, not {size}")

    def write_mapped(self, random):
        if not self.content:
            return
        offset = random.randrange(len(self.content))
        data = random.randbytes(min(random.randint(1, CHUNK_MAX), len(self.content) - offset))
        with mmap.mmap(self.fd, len(self.content)) as mapping:
            self.compare(0, len(self.content), mapping[:])
            mapping[offset:offset + len(data)] = data
            if random.random() < 0.5:
                mapping.flush()
        self.content[offset:offset + len(data)] = data

    def rename(self, random):
        path = f"{self.path.split('.')[0]}.{random.randrange(1 << 30)}"
        os.rename(self.path, path)
        self.path = path

    def sync(self, _):
        os.fsync(self.fd)

    def compare(self, offset, length, data):
        expected = bytes(self.content[offset:offset + length])
        if data != expected:
            at = next((i for i, (a, b) in enumerate(zip(data, expected)) if a != b), min(len(data), len(expected)))
            check(False, f"{self.path}: read {len(data)} bytes at {offset}, expected {len(expected)}; they differ from "
                  f"{offset + at} on: {data[at:at + 16].hex()}, expected {expected[at:at + 16].hex()}")

    def compare_all(self):
        self.reopen_plain()
        size = os.fstat(self.fd).st_size
        check(size == len(self.content), f"{self.path}: size {size}, not {len(self.content)}")
        for offset in range(0, size, CHUNK_MAX):
            self.compare(offset, CHUNK_MAX, os.pread(self.fd, CHUNK_MAX, offset))

    def reopen_plain(self):
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR)

    def remove(self):
        os.unlink(self.path)
        # An open file without a name is still there.
        self.compare(0, CHUNK_MAX, os.pread(self.fd, CHUNK_MAX, 0))
        os.close(self.fd)


def main(options):
    operations = 0

    def one_round(random, number):
        nonlocal operations
        files = [ModelledFile(f"round{number}-{i}") for i in range(FILES)]
        kinds = [ModelledFile.write] * 5 + [ModelledFile.read] * 4 + [
            ModelledFile.truncate, ModelledFile.write_mapped, ModelledFile.append, ModelledFile.sync, ModelledFile.rename,
            ModelledFile.reopen]
        for i in range(OPERATIONS * options.scale):
            random.choice(kinds)(random.choice(files), random)
            options.alive()
            operations += 1
            if i % 200 == 199:
                drop_caches()
                for file in files:
                    file.compare_all()
        drop_caches()
        for file in files:
            file.compare_all()
            file.remove()

    rounds = repeat(options, one_round)
    return f"{operations} operations in {rounds} rounds"

