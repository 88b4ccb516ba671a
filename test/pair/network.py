"""The networks of a pair, in network namespaces of this machine: each blade, the arbiter and the clients are a namespace,
and so is the switch between them, whose ports can be unplugged, silenced, or made to lose what goes one way.

    client network  10.77.1.0/24    both blades, the clients, and the vserver's addresses
                    fd00:77:1::/64
    peer            10.77.2.0/24    both blades
    administration  10.77.3.0/24    both blades, the arbiter

Needs root. A silenced port (the machine behind it is gone, as if its power were lost) still has its carrier; an unplugged
one has none.
"""
import contextlib
import os
import subprocess

NETWORKS = {"client": 1, "peer": 2, "admin": 3}
HOSTS = {"a": 1, "b": 2, "arbiter": 9, "c": 100}
MEMBERS = {"client": ["a", "b", "c"], "peer": ["a", "b"], "admin": ["a", "b", "arbiter"]}
VSERVER, VSERVER_IPV6 = "10.77.1.10", "fd00:77:1::10"
GUESTS = "192.168.78.0/24"
NOWHERE = "02:00:00:00:00:01"


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def ipv6_address(host):
    return f"fd00:77:1::{HOSTS[host]}"


def address(host, network):
    return f"10.77.{NETWORKS[network]}.{HOSTS[host]}"


class Network:
    def __init__(self, name="perdure-pair"):
        self.name = name
        self.close()  # what one that was killed has left
        ip("netns", "add", self.space("switch"))
        for host in HOSTS:
            ip("netns", "add", self.space(host))
            ip("-n", self.space(host), "link", "set", "lo", "up")
        for network, members in MEMBERS.items():
            ip("-n", self.space("switch"), "link", "add", "name", network, "type", "bridge")
            ip("-n", self.space("switch"), "link", "set", network, "up")
            for host in members:
                self._plug(host, network)
        # Guests (test/guest) that run on host c.
        subprocess.run(self.within("c", ["sysctl", "-qw", "net.ipv4.ip_forward=1"]), check=True)
        for host in ("a", "b"):
            ip("-n", self.space(host), "route", "add", GUESTS, "via", address("c", "client"))

    def space(self, host):
        return f"{self.name}-{host}"

    def _plug(self, host, network):
        port = f"{network}-{host}"
        ip("link", "add", "name", network, "netns", self.space(host), "type", "veth", "peer", "name", port, "netns",
           self.space("switch"))
        ip("-n", self.space("switch"), "link", "set", port, "master", network, "up")
        ip("-n", self.space(host), "address", "add", address(host, network) + "/24", "dev", network)
        if network == "client":
            ip("-n", self.space(host), "address", "add", ipv6_address(host) + "/64", "dev", network, "nodad")
        ip("-n", self.space(host), "link", "set", network, "up")

    def within(self, host, command):
        """The command as it is run on a host."""
        return ["ip", "netns", "exec", self.space(host), *command]

    def close(self):
        for host in [*HOSTS, "switch"]:
            ip("netns", "delete", self.space(host), check=False)

    # ---- failures

    def add_address(self, host, prefix):
        """In the clients' network."""
        ip("-n", self.space(host), "address", "add", prefix, "dev", "client", *(["nodad"] if ":" in prefix else []))

    def unplug(self, host, network, out=True):
        ip("-n", self.space("switch"), "link", "set", f"{network}-{host}", "down" if out else "up")

    def silence(self, host, network, silent=True):
        subprocess.run(["bridge", "-n", self.space("switch"), "link", "set", "dev", f"{network}-{host}", "state",
                        "0" if silent else "3"], check=True, capture_output=True)

    def isolate(self, host, alone=True):
        """The host from all others: what it sends is lost, and what is sent to it."""
        for network, members in MEMBERS.items():
            if host in members:
                self.silence(host, network, alone)

    def lose(self, sender, receiver, network, lost=True):
        """What one host sends to another one, and not the other way round."""
        to = address(receiver, network)
        if lost:
            ip("-n", self.space(sender), "neighbour", "replace", to, "lladdr", NOWHERE, "dev", network, "nud", "permanent")
        else:
            ip("-n", self.space(sender), "neighbour", "delete", to, "dev", network, check=False)

    def mend(self):
        for network, members in MEMBERS.items():
            for host in members:
                self.unplug(host, network, False)
                self.silence(host, network, False)
                for other in members:
                    if other != host:
                        self.lose(host, other, network, False)
