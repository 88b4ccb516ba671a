#!/usr/bin/env python3
"""A pair on one machine: two blades, an arbiter (etcd) and their networks, in network namespaces.

Without options: a demonstration, which runs until Ctrl-C and says what can be tried. With --failures: a test. A client,
`perdure bench crash`, works on the vserver's address and compares each answer with what it must be, while machines, links
and processes fail, each --failures times, in random order. README.md says what is promised, and measured.
"""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "crash")]

import cost
import returning
from blades import Pair, PairError
from failures import KINDS
from figures import distribution
from network import VSERVER, VSERVER_IPV6, Network

FAILURES_PER_ROUND = 12


class Replay:
    """`perdure bench crash` on host c, until finish()."""

    def __init__(self, test, number):
        options = test.options
        self.test = test
        self.log = open(test.directory / f"client.{number}.log", "w+b")
        self.process = subprocess.Popen(
            test.network.within("c", [
                options.server, "bench", "crash", "--server",
                f"[{VSERVER_IPV6}]:2049" if options.ipv6 else f"{VSERVER}:2049", "--seconds", "100000", "--stop-on-eof",
                "--conns", str(options.conns), "--depth", str(options.depth), "--seed", str(test.random.randrange(1 << 30)),
                "--stall-max", "60", "--reconnect-max", "60", "--json", "--crash-log",
                str(test.directory / f"journal.{number}")]),
            stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)

    def ended(self):
        return self.process.poll() is not None

    def finish(self):
        """What it found. Raises PairError if that is wrong."""
        self.process.stdin.close()
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")
        try:
            result = json.loads(text.splitlines()[-1])
        except (IndexError, ValueError):
            result = {"good": False}
        if self.process.returncode != 0 or not result["good"]:
            raise PairError(f"the client: status {self.process.returncode}\n{text[-4000:]}\n{self.test.pair.last_messages()}")
        return result


class LinuxClient:
    """A Linux kernel's NFS client in a guest on host c, with the workloads of the crash test, until finish()."""

    def __init__(self, test):
        self.log = open(test.directory / "linux.log", "w+b")
        self.process = subprocess.Popen(
            test.network.within("c", [
                str(HERE.parent / "crash" / "crash.py"), "--parts", "clients", "--short", "--against", f"{VSERVER}:2049:/",
                "--seconds", "100000", "--stop-on-eof", "--seed", str(test.random.randrange(1 << 30))]),
            stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)

    def text(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def wait_for_start(self):
        while "are at work" not in self.text():
            if self.ended():
                raise PairError("the Linux client did not start\n" + self.text()[-3000:])
            time.sleep(0.1)

    def ended(self):
        return self.process.poll() is not None

    def finish(self):
        self.process.stdin.close()
        if self.process.wait(600) != 0:
            raise PairError("the Linux client found something wrong\n" + self.text()[-5000:])

    def close(self):
        if not self.ended():
            self.process.terminate()
            self.process.wait(60)


class Test:
    def __init__(self, options, directory):
        self.options = options
        self.random = random.Random(options.seed)
        self.directory = directory
        self.network = Network(options.name)
        self.pair = self.linux = None
        self.pauses = {}   # kind -> ms, the longest that the client saw of each failure
        self.whole = {}    # kind -> ms until there is a mirror again
        self.acknowledged = self.sent_again = self.compared = 0

    def rest(self):
        """How long a failure lasts."""
        time.sleep(self.random.uniform(0.6, 2.5))

    def run(self):
        self.pair = make_pair(self.options, self.network, self.directory)
        self.pair.wait_in_sync()
        todo = [kind for kind in self.options.kinds for _ in range(self.options.failures)]
        self.random.shuffle(todo)
        if self.options.linux:
            self.linux = LinuxClient(self)
            self.linux.wait_for_start()
        for number, begin in enumerate(range(0, len(todo), FAILURES_PER_ROUND)):
            self.round(number, todo[begin:begin + FAILURES_PER_ROUND])
        if self.linux:
            self.linux.finish()
        primary, mirror, self.compared = self.pair.compare()
        self.dissolve(primary, mirror)

    def round(self, number, kinds):
        say(f"round {number}: {', '.join(kinds)}")
        client = Replay(self, number)
        linux = self.linux
        began = []
        try:
            time.sleep(1)
            for kind in kinds:
                time.sleep(self.random.uniform(0.3, 1.0))
                if client.ended() or (linux and linux.ended()):
                    break
                began.append((kind, time.monotonic_ns()))
                KINDS[kind](self, *self.pair.primary())
                mended = time.monotonic()
                self.pair.wait_in_sync()
                self.whole.setdefault(kind, []).append((time.monotonic() - mended) * 1000)
            time.sleep(0.5)
        finally:
            result = client.finish()
        self.acknowledged += result["acknowledged"]
        self.sent_again += result["requests_sent_again"]
        slack = 50e6  # the last answer came before the failure
        for (kind, at), (_, after) in zip(began, began[1:] + [(None, 1 << 62)]):
            longest = max((p["length"] for p in result.get("pauses_ns", [])
                           if at - slack < p["ended_at"] - p["length"] < after - slack), default=0)
            self.pauses.setdefault(kind, []).append(longest / 1e6)
            if longest > 1e9:
                say(f"  {kind}: a pause of {longest / 1e6:.0f} ms")

    def dissolve(self, primary, mirror):
        """The primary goes on alone, as a server that knows nothing of a pair. Its data are the same."""
        def remove(blade):
            return blade.run("cluster", "remove", "--data", str(blade.data), check=False)

        if remove(primary).returncode == 0:
            raise PairError("a pair was dissolved while the other blade could have taken over")
        for blade in (primary, mirror):
            blade.start()
        self.pair.wait_in_sync()
        primary, mirror = self.pair.primary()
        mirror.stop()
        self.pair.wait_for("the primary to go on alone", lambda: len(primary.configuration().get("in_sync", [])) == 1)
        primary.stop()
        if remove(mirror).returncode == 0:
            raise PairError("a blade that may lack what was acknowledged has dissolved the pair")
        done = remove(primary)
        if done.returncode != 0:
            raise PairError(f"the pair cannot be dissolved: {done.stderr}")
        for own in (f"{VSERVER}/24", f"{VSERVER_IPV6}/64"):  # which nobody moves any more
            self.network.add_address(primary.name, own)
        primary.start()
        self.pair.wait_for("the former primary to serve", primary.is_serving)
        primary.stop()
        primary.run("check", str(primary.data), "--data")

    def report(self):
        if self.linux:
            for line in self.linux.text().splitlines():
                if line.startswith("client"):
                    yield f"Linux: {line}"
        yield f"{self.acknowledged} changes acknowledged, {self.sent_again} requests sent again, each executed exactly once"
        if self.compared:
            yield f"both blades are consistent, and the rows of their {self.compared} tables the same"
        for kind in sorted(self.pauses):
            yield f"{kind}: longest pause of the client: {distribution(self.pauses[kind])}"
            yield f"{kind}: until the pair was whole: {distribution(self.whole[kind])}"


def make_pair(options, network, directory):
    return Pair(options.server, network, directory, options.durability, other_program=options.other_server,
                paths=options.paths, tls_arbiter=options.tls_arbiter)


def demonstrate(options, directory):
    network = Network(options.name)
    pair = None
    try:
        pair = make_pair(options, network, directory)
        pair.wait_in_sync()
        on = {host: f"ip netns exec {network.space(host)}" for host in ("a", "b", "c")}
        program = pathlib.Path(options.server).resolve()
        print(f"""
Two blades, a and b, keep a vserver at {VSERVER}; c is a client. Everything of theirs is in {directory}.

  how it is        {on['a']} {program} cluster status --data {directory}/a
  a client         {on['c']} mount -t nfs -o vers=4.2 {VERSION_MOUNT}
  work for it      {on['c']} {program} bench --workload create --server {VSERVER}:2049 --seconds 60
  kill a blade     kill -9 {pair.a.guardian.pid}          (a's guardian, and with it its server)
  and start it     {on['a']} {program} serve --data {directory}/a
  planned          {on['a']} {program} cluster switchover --data {directory}/a
  lose a machine   bridge -n {network.space('switch')} link set dev peer-a state 0       (and client-a, admin-a; 3 mends it)

Ctrl-C ends it all.""", flush=True)
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print()
    finally:
        if pair:
            pair.close()
        network.close()


VERSION_MOUNT = f"{VSERVER}:/ /mnt"


def say(text):
    print(f"pair: {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--server", default=str(HERE.parent.parent / "build/release/perdure"), metavar="PROGRAM")
    option("--other-server", metavar="PROGRAM", help="what blade b runs, such as another version")
    option("--failures", type=int, default=0, metavar="N", help="the test, with so many failures of each kind")
    option("--kinds", default=",".join(KINDS), help="of failures, with commas (default: all)")
    option("--durability", default="disk", choices=["disk", "mirror", "disk+mirror"])
    option("--conns", type=int, default=2, help="connections of the client")
    option("--depth", type=int, default=4, help="requests at a time on each of them")
    option("--cost", type=int, default=0, metavar="RUNS",
           help="instead: what a mirror costs, at each level, in ratio to a blade alone")
    option("--away", type=int, default=0, metavar="SECONDS",
           help="instead: a mirror is away for so long, and comes back, while clients work as fast as they can")
    option("--workloads", default=",".join(returning.WORKLOADS), help="of --away, with commas")
    option("--paths", type=int, default=1, choices=[1, 2], help="between the blades; the second one is the clients' network")
    option("--tls-arbiter", action="store_true", help="etcd is reached by https, with certificates on both ends")
    option("--ipv6", action="store_true", help="the client connects to the vserver's IPv6 address")
    option("--linux", action="store_true", help="with a Linux kernel's NFS client beside the other one")
    option("--seed", type=int, default=None)
    option("--name", default="perdure-pair", help="what the names of the namespaces begin with")
    option("--keep", action="store_true", help="keep the directory of a good run")
    options = parser.parse_args()
    options.kinds = options.kinds.split(",")
    for kind in options.kinds:
        if kind not in KINDS:
            parser.error(f"no failure is called {kind}; there are {', '.join(KINDS)}")
    if options.seed is None:
        options.seed = random.randrange(1 << 30)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="perdure-pair."))
    if options.cost:
        return cost.main(options, directory)
    if options.away:
        return returning.main(options, directory)
    if options.failures == 0:
        demonstrate(options, directory)
        shutil.rmtree(directory)
        return 0
    say(f"seed {options.seed}, in {directory}")
    test = Test(options, directory)
    good = False
    try:
        test.run()
        good = True
    except PairError as problem:
        say(f"FAILED: {problem}")
    finally:
        if test.linux:
            test.linux.close()
        if test.pair:
            test.pair.close()
        test.network.close()
        for line in test.report():
            say(line)
    if good and not options.keep:
        shutil.rmtree(directory)
    say("good" if good else f"NOT GOOD; everything is in {directory}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
