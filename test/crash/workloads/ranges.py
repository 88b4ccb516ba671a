"""What only NFSv4.2 has: clones and copies, holes, room in advance, extended attributes; against a model."""
import ctypes
import fcntl
import functools
import os

from .workload import check, copy_range, drop_caches, repeat_turns

FICLONE = 0x40049409
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
FILE_BYTES = 1 << 20
BLOCK = 4096
TURNS = 2  # in one round, times the scale

libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "fallocate")


def compare(fd, expected, what):
    data = os.pread(fd, len(expected) + 1, 0)
    if data != bytes(expected):
        at = next((i for i, (a, b) in enumerate(zip(data, expected)) if a != b), min(len(data), len(expected)))
        check(False, f"{what}: {len(data)} bytes instead of {len(expected)}, different from {at} on")


def punch(fd, content, random):
    offset, length = random.randrange(FILE_BYTES), random.randrange(1, FILE_BYTES)
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
    end = max(offset, min(offset + length, len(content)))
    content[offset:end] = bytes(end - offset)
    first = -(-offset // BLOCK) * BLOCK
    if first + BLOCK <= end:
        hole = os.lseek(fd, first, os.SEEK_HOLE)
        check(hole == first, f"punched from {offset} to {end}, but the next hole from {first} is at {hole}")


def attributes(path, random):
    wanted = {}
    for _ in range(random.randrange(1, 5)):
        name, value = f"user.{random.randrange(6)}", random.randbytes(random.randrange(3000))
        os.setxattr(path, name, value, 0 if name in wanted else os.XATTR_CREATE)
        wanted[name] = value
    found = {name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith("user.")}
    check(found == wanted, f"{path}: attributes {sorted(found)}, not {sorted(wanted)}, or with other values")
    for name in wanted:
        os.removexattr(path, name)


def turn(options, random, name):
    content = bytearray(random.randbytes(random.randrange(1, FILE_BYTES)))
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    clone = os.open(f"{name}.clone", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    copy = os.open(f"{name}.copy", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.pwrite(fd, content, 0)
    fcntl.ioctl(clone, FICLONE, fd)
    whole = bytes(content)
    compare(clone, whole, "the clone")
    punch(fd, content, random)
    compare(fd, content, "the file with a hole")
    compare(clone, whole, "the clone, after the file was changed")
    offset = random.randrange(len(whole))
    copy_range(options, clone, copy, len(whole) - offset, offset)
    longer = len(content) + random.randrange(1, FILE_BYTES)
    fallocate(fd, 0, 0, longer)
    content.extend(bytes(longer - len(content)))
    attributes(name, random)
    drop_caches()
    compare(copy, whole[offset:], "the copy")
    compare(fd, content, "the file, made longer")
    for opened in (fd, clone, copy):
        os.close(opened)
    for suffix in ("", ".clone", ".copy"):
        os.unlink(name + suffix)


def main(options):
    turns, rounds = repeat_turns(options, TURNS * options.scale, functools.partial(turn, options))
    return f"{turns} files in {rounds} rounds"
