"""Copies of a large file within the server: they take it many steps, after it has answered that it will do them. Half of them begin
within a block, so that no block can be shared."""
import os
import random
import time

from .workload import check, copy_range, drop_caches, repeat, write_all

CHUNK = 1 << 20
PAGE = 4096
CHUNKS = 16  # times the scale
SOURCE = "source"


class Content:
    """Random bytes, and in each page its number: what is at a wrong place shows."""

    def __init__(self, random_):
        self.pages = [random_.randbytes(PAGE - 8) for _ in range(CHUNK // PAGE)]

    def chunk(self, number):
        first = number * len(self.pages)
        return b"".join((first + i).to_bytes(8, "little") + page for i, page in enumerate(self.pages))

    def read(self, offset, length):
        number, within = divmod(offset, CHUNK)
        data = self.chunk(number)
        if within + length > CHUNK:
            data += self.chunk(number + 1)
        return data[within:within + length]


def prepare(options):
    """The file that is copied; it is there before the server is killed."""
    content = Content(random.Random(options.seed))
    with open(SOURCE, "xb", buffering=0) as source:
        for number in range(CHUNKS * options.scale):
            write_all(source.fileno(), content.chunk(number), number * CHUNK)
            options.alive()
        os.fsync(source.fileno())


def compare(options, path, content, first, length):
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        check(size == length, f"{path}: size {size}, not {length}")
        for offset in range(0, length, CHUNK):
            wanted = content.read(first + offset, min(CHUNK, length - offset))
            check(os.pread(file.fileno(), len(wanted), offset) == wanted,
                  f"{path}: differs in the MiB from {offset} on; copied from {first}")
            options.alive()


def main(options):
    size = CHUNKS * options.scale * CHUNK
    content = Content(random.Random(options.seed))
    seconds = []

    def one_round(random_, number):
        first = random_.randrange(1, PAGE) if random_.random() < 0.5 else PAGE * random_.randrange(8)
        path = f"copy{number}"
        begin = time.monotonic()
        with open(SOURCE, "rb", buffering=0) as source, open(path, "xb", buffering=0) as target:
            copy_range(options, source.fileno(), target.fileno(), size - first, first)
        seconds.append(time.monotonic() - begin)
        drop_caches()
        compare(options, path, content, first, size - first)
        os.unlink(path)

    repeat(options, one_round)
    os.unlink(SOURCE)
    return f"{len(seconds)} copies of {size // CHUNK} MiB, in {min(seconds):.1f} to {max(seconds):.1f} s each"
