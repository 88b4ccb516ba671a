"""What a mirror costs: a blade alone at level disk, and pairs at each level, measured in turns by one client.

All of them are on this machine and share its processors and its disk, so a pair has less of both than a blade alone.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys

from blades import Arbiter, Blade, Pair
from network import VSERVER, Network, address
from server import CONFIG

LEVELS = {"mirror": ("10.77.1.11", 2051), "disk+mirror": ("10.77.1.12", 2052), "disk": (VSERVER, 2050)}
WORKLOADS = ["create", "randwrite4k-sync", "getattr"]
SHAPES = ["4x16", "1x1"]
SECONDS = 3
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Subject:
    """Something to be measured: where it is, and whose processor time counts."""

    def __init__(self, name, server, primary, mirror=None):
        self.name, self.server, self.primary, self.mirror = name, server, primary, mirror
        self.runs = {}

    def measure(self, options, network, workload, shape):
        connections, depth = shape.split("x")
        blades = [blade for blade in (self.primary, self.mirror) if blade]
        before = [cpu_seconds(blade.process()) for blade in blades]
        done = subprocess.run(
            network.within("c", [options.server, "bench", "--json", "--workload", workload, "--server", self.server, "--conns",
                                 connections, "--depth", depth, "--seconds", str(SECONDS)]),
            capture_output=True, text=True, check=True)
        used = [cpu_seconds(blade.process()) - b for blade, b in zip(blades, before)]
        result = json.loads(done.stdout.splitlines()[-1])
        if result["errors"] or result["bad_data"]:
            raise RuntimeError(f"{self.name}: {result}")
        self.runs.setdefault((workload, shape), []).append((result["ops_per_second"], result["latency_ns"]["p50"] / 1e3, *used))


def alone(options, network, directory):
    blade = Blade("a", options.server, network, directory)
    blade.data = directory / "alone"
    blade.messages = directory / "alone.log"
    blade.data.mkdir()
    at = f"{address('a', 'client')}:2049"
    (blade.data / "perdure.toml").write_text(CONFIG.replace("[server]", f'[server]\nlisten = ["{at}"]'))
    blade.start()
    return Subject("alone", at, blade)


def main(options, directory):
    network = Network(options.name)
    arbiter = Arbiter(network, directory)
    subjects = [alone(options, network, directory)]
    pairs = []
    try:
        for level, (vserver, port) in LEVELS.items():
            (directory / level).mkdir()
            pairs.append(Pair(options.server, network, directory / level, level, arbiter=arbiter, name=level.replace("+", "-and-"), vserver=vserver,
                              port=port))
            pairs[-1].wait_in_sync()
            subjects.append(Subject(level, f"{vserver}:2049", *pairs[-1].primary()))
        for shape in SHAPES:
            for workload in WORKLOADS:
                for run in range(1 + options.cost):  # the first one is to warm up
                    for subject in subjects:
                        subject.measure(options, network, workload, shape)
                print(f"  {workload} {shape}", file=sys.stderr, flush=True)
        print("| workload | shape | " + " | ".join(s.name + (" per s" if s is subjects[0] else " in ratio") for s in subjects) +
              " | mirror's CPU to primary's, by level |")
        print("| --- | --- |" + " ---: |" * len(subjects) + " --- |")
        for shape in SHAPES:
            for workload in WORKLOADS:
                medians = [statistics.median(run[0] for run in s.runs[workload, shape][1:]) for s in subjects]
                shares = [statistics.median(run[3] / run[2] for run in s.runs[workload, shape][1:]) for s in subjects[1:]]
                cells = [f"{medians[0]:.0f}"] + [f"{m / medians[0]:.2f}" for m in medians[1:]]
                print(f"| {workload} | {shape} | " + " | ".join(cells) + " | " +
                      ", ".join(f"{s.name} {share:.2f}" for s, share in zip(subjects[1:], shares)) + " |")
    finally:
        for pair in pairs:
            for blade in pair.blades:
                if blade.guardian is not None:
                    blade.kill()
        subjects[0].primary.kill()
        arbiter.close()
        network.close()
    shutil.rmtree(directory)
    return 0
