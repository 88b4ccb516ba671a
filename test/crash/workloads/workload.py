"""What the workloads share. A workload is a program that the guest runs in an empty directory of the mounted export:

    NAME --seed N --stop FILE [--scale N]

It repeats its round until FILE exists, finishes the round that it is in, and prints one line about what it has done. The
first thing that is not as it must be ends it with an error that says what, and status 1.
"""
import argparse
import os
import random
import sys


class Wrong(Exception):
    """The file system did not do what it must."""


def check(condition, text):
    if not condition:
        raise Wrong(text)


def arguments(*options):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop", default="/nonexistent/stop")
    parser.add_argument("--scale", type=int, default=10)
    for option, default in options:
        parser.add_argument(option, type=type(default), default=default)
    return parser.parse_args()


def repeat(options, round_of):
    """Calls round_of(random, number) until it is time to stop; once at least. Returns the number of rounds."""
    rounds = 0
    while rounds == 0 or not os.path.exists(options.stop):
        round_of(random.Random(options.seed * 1000 + rounds), rounds)
        rounds += 1
    return rounds


def run(main):
    try:
        print(main())
    except (Wrong, OSError) as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")


def drop_caches():
    """From here on everything is read from the server again."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
