#!/usr/bin/env python3
"""Kills `perdure serve` while it makes a new data directory, again and again: whatever it leaves, the next start must go on from it.

    first_start.py --server PERDURE [--rounds N]
"""
import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import time

CONFIG = """\
[server]
memory_bytes = "128MiB"

[vserver]
log_bytes = "256MiB"
blocks_step_bytes = "64MiB"
checkpoint_bytes_max = "64MiB"
"""
PATIENCE_SECONDS = 120


def start(server, data, messages):
    return subprocess.Popen([server, "serve", "--no-guardian", "--data", data, "--listen", "127.0.0.1:0"],
                            stdout=messages, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def serves(process, messages, patience):
    """Waits until the server says that it serves, or for so many seconds. None: its time is over."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if "serving after" in pathlib.Path(messages).read_text():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    chance = random.Random(arguments.seed)
    longest = 1.0
    kills = 0
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory(prefix="perdure-first-") as directory:
            data = f"{directory}/data"
            pathlib.Path(data).mkdir()
            pathlib.Path(data, "perdure.toml").write_text(CONFIG)
            # The first round is not disturbed, and tells how long a first start takes.
            for attempt in range(3 if number else 0):
                with open(f"{directory}/messages{attempt}", "w") as messages:
                    process = start(arguments.server, data, messages)
                    answer = serves(process, messages.name, chance.random() * longest)
                    process.kill()
                    process.wait()
                    kills += 1
                if answer is False:
                    sys.exit(f"round {number}: it does not start:\n{pathlib.Path(messages.name).read_text()}")
            with open(f"{directory}/messages", "w") as messages:
                began = time.monotonic()
                process = start(arguments.server, data, messages)
                answer = serves(process, messages.name, PATIENCE_SECONDS)
                if number == 0:
                    longest = time.monotonic() - began
                process.kill()
                process.wait()
            if not answer:
                sys.exit(f"round {number}: it does not start:\n{pathlib.Path(messages.name).read_text()}")
    print(f"{kills} kills during a first start, which takes {longest:.2f} s; each was followed by one that serves")


if __name__ == "__main__":
    main()
