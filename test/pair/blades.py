"""The machines of a pair: two blades with their servers, and the arbiter."""
import json
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "crash")]

from network import VSERVER, VSERVER_IPV6, address
from processes import child_of, is_alive
from server import CONFIG, PATIENCE_SECONDS


# A blade that comes back under load from Linux clients, on a machine that all of them share, may need minutes.
RESYNC_SECONDS = 400


class PairError(Exception):
    pass


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise PairError(f"openssl {arguments[0]}: {done.stderr}")


def make_arbiter_certificates(directory, at):
    """An authority, and what etcd and its clients show to each other."""
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl("req", "-x509", *ec, "-subj", "/CN=authority", "-keyout", f"{directory}/authority.key", "-out",
            f"{directory}/authority.pem")
    for name, extension in (("etcd", f"subjectAltName=IP:{at}"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-x509", *ec, "-subj", f"/CN={name}", "-CA", f"{directory}/authority.pem", "-CAkey",
                f"{directory}/authority.key", "-addext", extension, "-keyout", f"{directory}/{name}.key", "-out",
                f"{directory}/{name}.pem")


class Arbiter:
    """An etcd. `tls`: it is reached by https alone, by those who show a certificate."""

    def __init__(self, network, directory, tls=False):
        self.directory = directory / "arbiter"
        self.directory.mkdir()
        at = address("arbiter", "admin")
        self.url = f"http{'s' if tls else ''}://{at}:2379"
        self.messages = directory / "arbiter.log"
        self.files, shown = [], []  # for `perdure cluster init`, and for etcd
        if tls:
            make_arbiter_certificates(directory, at)
            self.files = ["--arbiter-authority", f"{directory}/authority.pem", "--arbiter-certificate",
                          f"{directory}/client.pem", "--arbiter-key", f"{directory}/client.key"]
            shown = ["--cert-file", f"{directory}/etcd.pem", "--key-file", f"{directory}/etcd.key", "--trusted-ca-file",
                     f"{directory}/authority.pem", "--client-cert-auth"]
        with open(self.messages, "wb") as messages:
            self.process = subprocess.Popen(
                network.within("arbiter", [
                    "etcd", "--data-dir", str(self.directory), "--listen-client-urls", self.url,
                    "--advertise-client-urls", self.url, "--listen-peer-urls", "http://127.0.0.1:2380", *shown]),
                stdin=subprocess.DEVNULL, stdout=messages, stderr=subprocess.STDOUT)

    def stop(self, stopped=True):
        self.process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def close(self):
        self.stop(False)
        self.process.kill()
        self.process.wait()


class Blade:
    def __init__(self, name, program, network, directory):
        self.name = name
        self.program = str(pathlib.Path(program).resolve())
        self.network = network
        self.data = directory / name
        self.messages = directory / f"{name}.log"
        self.guardian = None

    def command(self, *arguments):
        return self.network.within(self.name, [self.program, *arguments])

    def run(self, *arguments, check=True):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        if check and done.returncode != 0:
            raise PairError(f"{' '.join(done.args)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self):
        with open(self.messages, "ab") as messages:
            self.guardian = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command("serve", "--data", str(self.data))],
                stdin=subprocess.DEVNULL, stdout=messages, stderr=subprocess.STDOUT)

    def process(self):
        """The process id of the server process, or None."""
        return child_of(self.guardian.pid) if self.guardian else None

    def kill(self):
        """As if the machine had died: guardian and server process."""
        pid = self.process()
        self.guardian.kill()
        self.bury(pid)

    def stop(self):
        """As an administrator does."""
        self.guardian.terminate()
        try:
            self.guardian.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise PairError(f"blade {self.name} does not stop\n{self.last_messages()}") from None
        self.guardian = None

    def bury(self, pid):
        """Waits until both are dead: the guardian, which has been killed, and its server process."""
        self.guardian.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while pid and is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.guardian = None

    def check_alive(self):
        if self.guardian is not None and self.guardian.poll() is not None:
            raise PairError(f"the guardian of blade {self.name} has ended: {self.guardian.returncode}\n{self.last_messages()}")

    def status(self):
        return self._json("cluster", "status")

    def _json(self, *command):
        """What it answers; empty if it does not."""
        try:
            return json.loads(self.run(*command, "--json", "--data", str(self.data), check=False).stdout)
        except ValueError:
            return {}

    def configuration(self):
        """As the arbiter has it; empty if it does not answer."""
        arbiter = self.status().get("arbiter")
        return arbiter if isinstance(arbiter, dict) else {}

    def pair_status(self):
        """What its server says of the pair; empty if it does not answer."""
        server = self.status().get("server")
        return server.get("pair", {}) if isinstance(server, dict) else {}

    def is_serving(self):
        """Of a server that is no blade of a pair, too."""
        return "vserver" in self._json("status")

    def finished(self):
        """Transactions, since its server began to serve."""
        return self._json("status").get("transactions", {}).get("finished", 0)

    def last_messages(self):
        text = self.messages.read_text(errors="replace") if self.messages.exists() else ""
        return f"---- {self.name}\n" + "\n".join(text.splitlines()[-25:])


class Pair:
    def __init__(self, program, network, directory, durability="disk", *, other_program=None, arbiter=None, name="vserver",
                 vserver=VSERVER, port=2050, paths=1, tls_arbiter=False):
        self.network = network
        self.arbiter = arbiter or Arbiter(network, directory, tls_arbiter)
        self.a = Blade("a", program, network, directory)
        self.b = Blade("b", other_program or program, network, directory)
        self.programs = [self.a.program, self.b.program]
        self.a.data.mkdir()
        (self.a.data / "perdure.toml").write_text(CONFIG)
        self._wait_for_arbiter()
        ipv6 = ["--address", f"{VSERVER_IPV6}/64@client"] if vserver == VSERVER else []
        # The second path is the network of the clients.
        listen = [argument for path in ("peer", "client")[:paths] for argument in (
            "--listen", f"{address('a', path)}:{port}", "--peer-listen", f"{address('b', path)}:{port}")]
        self.a.run("cluster", "init", "--data", str(self.a.data), "--name", name, "--blade", "a", "--peer", "b", *listen,
                   "--arbiter", self.arbiter.url, *self.arbiter.files, "--address", f"{vserver}/24@client", *ipv6,
                   "--durability", durability,
                   "--bundle", str(directory / "b.bundle"))
        self.b.run("cluster", "join", str(directory / "b.bundle"), "--data", str(self.b.data))
        self.a.start()
        self.b.start()

    def _wait_for_arbiter(self):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while subprocess.run(self.network.within("a", ["bash", "-c", f": < /dev/tcp/{address('arbiter', 'admin')}/2379"]),
                             capture_output=True).returncode != 0:
            if self.arbiter.process.poll() is not None or time.monotonic() > deadline:
                raise PairError("etcd does not start\n" + self.arbiter.messages.read_text()[-2000:])
            time.sleep(0.05)

    @property
    def blades(self):
        return [self.a, self.b]

    def primary(self):
        """(primary, the other one), as the arbiter has it."""
        return (self.a, self.b) if self.configuration()["primary"]["blade"] == "a" else (self.b, self.a)

    def epoch(self):
        """The arbiter's: it changes with every change of who is primary, and of who is in sync."""
        return self.configuration()["epoch"]

    def configuration(self):
        """As the arbiter has it, asked by whichever blade reaches it."""
        for blade in self.blades:
            if arbiter := blade.configuration():
                return arbiter
        raise PairError("no blade reaches the arbiter")

    def is_whole(self):
        """The arbiter names two starts, and the one that it names as the primary knows that it has a mirror."""
        for blade in self.blades:
            status = blade.status()
            arbiter, server = status.get("arbiter"), status.get("server")
            if not isinstance(arbiter, dict) or not isinstance(server, dict) or "pair" not in server:
                continue
            pair = server["pair"]
            if (arbiter["primary"]["blade"] == blade.name and f"{arbiter['primary']['start']:016x}" == pair["start"] and
                    len(arbiter["in_sync"]) == 2 and pair["mirrored"]):
                return True
        return False

    def wait_in_sync(self, seconds=RESYNC_SECONDS):
        """Until the primary serves and has a mirror; how long that took."""
        began = time.monotonic()
        while True:
            for blade in self.blades:
                blade.check_alive()
            if self.is_whole():
                return time.monotonic() - began
            if time.monotonic() - began > seconds:
                raise PairError(f"the pair is not whole after {seconds} s\n" + self.last_messages())
            time.sleep(0.02)

    def wait_for(self, what, condition):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise PairError(f"waited for {what} in vain\n" + self.last_messages())
            time.sleep(0.05)

    def wait_paths(self, number):
        """Until so many paths between the blades are in use."""
        self.wait_for(f"{number} paths between the blades",
                      lambda: all(b.pair_status().get("paths", {}).get("up") == number for b in self.blades))

    def wait_quiet(self):
        """(primary, mirror), when the mirror has all there is on its disk, and nothing more comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        before = None
        while time.monotonic() < deadline:
            primary, mirror = self.primary()
            server = primary.status().get("server", {})
            log, follower = server.get("log", {}), server.get("pair", {}).get("follower", {})
            now = (log.get("next_lsn"), follower.get("received_lsn"), follower.get("stable_lsn"))
            if server.get("pair", {}).get("mirrored") and now == before and now[1] == now[2] and not follower["behind_bytes"]:
                return primary, mirror
            before = now
            time.sleep(1)
        raise PairError("the pair does not come to rest\n" + self.last_messages())

    def compare(self):
        """Both blades, dead at the same time and without work: consistent, and the same. (primary, mirror, tables)"""
        primary, mirror = self.wait_quiet()
        pids = [blade.process() for blade in (primary, mirror)]
        for blade in (primary, mirror):
            blade.guardian.kill()
        for blade, pid in zip((primary, mirror), pids):
            blade.bury(pid)
        found = [blade.run("check", str(blade.data), "--data", "--digest").stdout for blade in (primary, mirror)]
        digests = [[line for line in text.splitlines() if line.startswith("digest")] for text in found]
        if digests[0] != digests[1] or not digests[0]:
            raise PairError("the blades' rows differ:\n" + "\n".join(sorted(set(digests[0]) ^ set(digests[1]))))
        return primary, mirror, len(digests[0])

    def last_messages(self):
        return "\n".join(blade.last_messages() for blade in self.blades)

    def close(self):
        for blade in self.blades:
            if blade.guardian is not None:
                blade.kill()
        self.arbiter.close()
