#!/usr/bin/env python3
"""Perdure beside NFS-Ganesha and the local disk: a Markdown table of ratios and which targets are met.

Both servers keep their files in --dir, so on the same disk; the runs of a cell alternate between them, and the figures are medians
of those after a first one to warm up.
The local disk is measured in the same turns: with as many threads, straight on the file system, with fsync.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import servers

SKIPPED = 77
MEMORY_SLACK = 150 << 20

# workload: (operations per second, operations per CPU second of the server), as multiples of Ganesha's, 4x16
TARGETS = {
    "create": (8, 6),
    "randwrite4k-sync": (8, 4),
    "getattr": (4, 3),
    "randread4k": (3, 2),
    "meta": (4, 3),
    "seqwrite1m": (1.5, 1.5),
    "seqread1m": (1.5, 1.5),
}
# What a workload has to reach of the local disk's speed, 4x16.
DISK = {"create": "local-create", "randwrite4k-sync": "local-odsync"}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--perdure", default=os.path.join(root, "build/release/perdure"), help="the binary")
    parser.add_argument("--dir", default=os.path.join(root, "build"), help="where the servers keep their files")
    parser.add_argument("--seconds", type=float, default=5, help="of each run of a cell")
    parser.add_argument("--runs", type=int, default=3, help="of each cell")
    parser.add_argument("--warm-up", type=int, default=1,
                        help="runs of each cell before those: the first one to use a piece of memory waits for the "
                             "system to provide it")
    parser.add_argument("--workloads", default=",".join(TARGETS), help="separated by commas")
    parser.add_argument("--shapes", default="4x16,1x1", help="connections x requests on each")
    parser.add_argument("--memory", type=int, default=4 << 30, help="Perdure's memory limit in bytes")
    parser.add_argument("--json", help="append each run's result to this file")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=HOST:PORT/PATH,pid=N",
                        help="measure these running servers instead (the first against each other one)")
    return parser.parse_args()


def measure(options, targets, workload, connections, depth, local):
    """The results of all runs, by server."""
    command = [options.perdure, "bench", "--json", "--workload", workload, "--runs",
               str(options.warm_up + options.runs),
               "--conns", str(connections), "--depth", str(depth), "--seconds", str(options.seconds),
               "--threads", str(connections * depth)]
    for target in targets:
        command += ["--compare", target]
    if local:
        command += ["--local-dir", options.dir]
    results = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            result = json.loads(line)
            results.setdefault(result["server"], []).append(result)
            print(f"  {result['workload']:<22}{result['server']:<12}{result['ops_per_second']:>10.0f} ops/s"
                  f"{result['ops_per_server_cpu_second']:>10.0f} per CPU s", file=sys.stderr)
            if options.json:
                with open(options.json, "a", encoding="utf-8") as file:
                    file.write(line)
    if process.returncode not in (0, 1):
        print(f"  {workload}: not all could be run", file=sys.stderr)
    return {server: runs[options.warm_up:] for server, runs in results.items()}


def median(runs, key):
    return statistics.median_low([r[key] for r in runs]) if runs else 0


def verdict(ratio, target):
    if target is None or ratio is None:
        return "-"
    return f"{target:g} " + ("met" if ratio >= target else "MISSED")


class Table:
    def __init__(self, first, other):
        self.first, self.other = first, other
        self.missed = 0
        self.peak = 0
        head = ["workload", "shape", f"{first} ops/s", f"{other} ops/s", "ratio", "target", f"{first} per CPU s",
                f"{other} per CPU s", "ratio", "target", "errors"]
        self.rows = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]

    def add(self, workload, shape, results, targets):
        cells = [workload, shape]
        for key, target in zip(("ops_per_second", "ops_per_server_cpu_second"), targets):
            mine, theirs = (median(results.get(name, []), key) for name in (self.first, self.other))
            ratio = mine / theirs if mine and theirs else None
            if target is not None and (ratio is None or ratio < target):
                self.missed += 1
            cells += [f"{mine:.0f}", f"{theirs:.0f}", f"{ratio:.2f}" if ratio else "-", verdict(ratio, target)]
        runs = results.get(self.first, [])
        cells.append(str(sum(sum(r["errors"].values()) + r["bad_data"] for r in runs)))
        self.peak = max([self.peak] + [r["server_peak_bytes"] for r in runs])
        self.rows.append("| " + " | ".join(cells) + " |")

    def add_disk(self, workload, shape, results):
        mine, disk = (median(results.get(name, []), "ops_per_second") for name in (self.first, "disk"))
        ratio = mine / disk if mine and disk else None
        if ratio is None or ratio < 1:
            self.missed += 1
        self.rows.append(f"| {workload} against the disk itself | {shape} | {mine:.0f} | {disk:.0f} |"
                         f" {ratio or 0:.2f} | {verdict(ratio, 1)} | | | | | |")


def run_shape(options, table, targets, shape):
    connections, depth = (int(n) for n in shape.split("x"))
    full = shape == "4x16"
    for workload in options.workloads.split(","):
        local = full and workload in DISK
        results = measure(options, targets, workload, connections, depth, local)
        disk = results.pop("local disk", None)
        if disk:
            results["disk"] = disk
        # With one request at a time nothing may be slower than the other one.
        table.add(workload, shape, results, TARGETS.get(workload, (None, None)) if full else (1, None))
        if local:
            table.add_disk(workload, shape, results)


def report(options, table, memory):
    print(f"\n{options.seconds:g} s a run, medians of {options.runs}\n")
    print("\n".join(table.rows))
    if memory:
        limit = memory + MEMORY_SLACK
        met = table.peak <= limit
        table.missed += 0 if met else 1
        print(f"\nResident memory of {table.first}: {table.peak / 2**20:.0f} MiB at most; limit {memory / 2**20:.0f} MiB "
              f"plus {MEMORY_SLACK / 2**20:.0f} MiB: {'met' if met else 'MISSED'}")
    print(f"\n{table.missed} targets missed" if table.missed else "\nall targets met")


def main():
    options = parse_arguments()
    options.dir = os.path.abspath(options.dir)
    if options.server:
        names = [s.split("=")[0] for s in options.server]
        table = Table(names[0], names[1])
        for shape in options.shapes.split(","):
            run_shape(options, table, options.server, shape)
        report(options, table, 0)
        return 0
    if not servers.have_ganesha():
        print("NFS-Ganesha is not installed, so there is nothing to compare with: ./x deps bench installs it",
              file=sys.stderr)
        return SKIPPED
    directory = tempfile.mkdtemp(prefix="bench-", dir=options.dir)
    try:
        with servers.start_perdure(options.perdure, os.path.join(directory, "perdure"), options.memory) as perdure, \
                servers.start_ganesha(os.path.join(directory, "ganesha")) as ganesha:
            table = Table(perdure.name, ganesha.name)
            for shape in options.shapes.split(","):
                run_shape(options, table, [perdure.target, ganesha.target], shape)
            report(options, table, options.memory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
