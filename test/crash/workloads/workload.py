"""What the workloads share.

A workload is a module with main(options), which runs in a process of its own in an empty directory of the mounted
export. It repeats its round until options.stop exists, finishes the round that it is in, and returns a line about what
it has done. What must be there before the first kill its prepare(options) makes, if it has one. The first thing that is
not as it must be ends it with an exception.
"""
import os
import random
import subprocess
import time

COMMAND_SECONDS_MAX = 600


class Wrong(Exception):
    """The file system did not do what it must."""


class Options:
    """seed, scale, stop (a path), slow (a path, of the pinger), member, members (of the locks)."""

    def __init__(self, **values):
        self.__dict__.update(values)
        self.sign = None

    def stopped(self):
        self.alive()
        return os.path.exists(self.stop)

    def alive(self):
        """To be called again and again, so that one that waits for ever is found."""
        if self.sign is not None:
            self.sign[:] = int(time.monotonic()).to_bytes(8, "little")


def check(condition, text):
    if not condition:
        raise Wrong(text)


def repeat(options, round_of):
    """Calls round_of(random, number) until it is time to stop; once at least. Returns the number of rounds."""
    rounds = 0
    while rounds == 0 or not options.stopped():
        round_of(random.Random(options.seed * 1000 + rounds), rounds)
        rounds += 1
    return rounds


def repeat_turns(options, turns, turn):
    """The same with rounds of so many turns, turn(random, name) each. Returns the number of turns and that of rounds."""
    def one_round(random_, number):
        for i in range(turns):
            turn(random_, f"round{number}-{i}")
            options.alive()

    rounds = repeat(options, one_round)
    return rounds * turns, rounds


def write_all(fd, data, offset):
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def copy_range(options, source, target, length, source_offset):
    """To the target's beginning, within the server where that is possible."""
    done = 0
    while done < length:
        copied = os.copy_file_range(source, target, length - done, source_offset + done, done)
        check(copied > 0, f"copy_file_range: {done} of {length} bytes, and no more")
        done += copied
        options.alive()


def command(options, *words, status=0):
    """Runs a program, which must end with the given status; returns what it printed."""
    options.alive()
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                            timeout=COMMAND_SECONDS_MAX)
    options.alive()
    check(result.returncode == status, f"{' '.join(words)}: status {result.returncode}\n{result.stdout[-3000:].strip()}")
    return result.stdout


def drop_caches():
    """From here on everything is read from the server again."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def make_tree(options, tree, random_, files, links=False):
    """Files of random content, mostly small, in the directories of a tree; where one is already, it is replaced."""
    for number in range(files):
        options.alive()
        directory = os.path.join(tree, *(f"d{random_.randrange(8)}" for _ in range(random_.randrange(4))))
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, f"f{number}")
        size = random_.randrange(3000) if random_.random() < 0.95 else random_.randrange(200_000)
        with open(path, "wb") as file:
            file.write(random_.randbytes(size // 2).hex().encode())
        if links and random_.random() < 0.05:
            os.symlink(f"f{number}", path + ".symlink")
            os.link(path, path + ".link")
