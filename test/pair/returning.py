"""A mirror is away for a while and comes back, while clients work as fast as they can: how long until it is in sync, and
what clients get meanwhile.

All of it is on this machine and shares its processors and its disk.
"""
import shutil
import subprocess
import sys
import time

from blades import Pair, PairError
from network import VSERVER, Network

WORKLOADS = ["seqwrite1m", "randwrite4k-sync", "create", "meta"]
SHAPE = ["--conns", "4", "--depth", "8"]
WARM_UP_SECONDS = 5
PAIR_SECONDS = 3
# Service goes on at no less than half speed where each blade has a machine of its own; here they share the processors.
SERVICE_MIN = 0.25


class Service:
    """What is finished per second, from one call to the next."""

    def __init__(self, blade):
        self.blade = blade
        self.rate()

    def rate(self):
        before = getattr(self, "last", None)
        self.last = (self.blade.finished(), time.monotonic())
        return (self.last[0] - before[0]) / (self.last[1] - before[1]) if before else 0


def measure(options, network, directory, workload):
    """(per second as a pair, alone, until it is in sync; seconds until then). A pair's speed is taken before and after."""
    directory.mkdir()
    pair = Pair(options.server, network, directory, options.durability, paths=options.paths)
    client = None
    try:
        pair.wait_in_sync()
        primary, mirror = pair.primary()
        client = subprocess.Popen(
            network.within("c", [options.server, "bench", "--workload", workload, "--server", f"{VSERVER}:2049", "--seconds", "86400",
                                 *SHAPE]),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(WARM_UP_SECONDS)
        service = Service(primary)
        time.sleep(PAIR_SECONDS)
        as_pair = service.rate()
        mirror.kill()
        time.sleep(options.away)
        alone = service.rate()
        mirror.start()
        seconds = pair.wait_in_sync()
        meanwhile = service.rate()
        time.sleep(PAIR_SECONDS)
        as_pair = (as_pair + service.rate()) / 2
        if client.poll() is not None:
            raise PairError(f"the client has ended: {client.returncode}")
        client.kill()
        client.wait()
        pair.compare()
        return as_pair, alone, meanwhile, seconds
    finally:
        if client:
            client.kill()
        pair.close()


def main(options, directory):
    network = Network(options.name)
    good = True
    try:
        print("| workload | as a pair, per s | alone | until in sync | in sync after |\n| --- | ---: | ---: | ---: | ---: |", flush=True)
        for workload in options.workloads.split(","):
            as_pair, alone, meanwhile, seconds = measure(options, network, directory / workload, workload)
            print(f"| {workload} | {as_pair:.0f} | {alone / as_pair:.2f} | {meanwhile / as_pair:.2f} | {seconds:.1f} s |", flush=True)
            if meanwhile < SERVICE_MIN * as_pair:
                print(f"pair: FAILED: clients got {meanwhile / as_pair:.2f} of what a pair gives them", file=sys.stderr)
                good = False
    except PairError as problem:
        print(f"pair: FAILED: {problem}", file=sys.stderr)
        good = False
    finally:
        network.close()
    if good:
        shutil.rmtree(directory)
    print("pair: good" if good else f"pair: NOT GOOD; everything is in {directory}", file=sys.stderr)
    return 0 if good else 1
