#!/usr/bin/env python3
"""How much memory clients, opens and locks take, and how long a restart with all of them lasts.

Makes so many NFSv4.1 clients, each with a session, and then opens and locks for each, through one connection; says what the server
process' memory has grown by for each of them; kills the process, and says how long the next one took to go on with all of that.

    client_state.py --server PERDURE [--clients 10000] [--opens 100]
"""
import argparse
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

CONFIG = """\
[server]
listen = ["127.0.0.1:{port}"]
memory_bytes = "2GiB"

[vserver]
delegations = false

[limits]
clients_max = {clients_max}
slots_max = 4

[[export]]
squash = "none"
"""
LOCKS_AT_ONCE = 40


def opaque(data):
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


class Connection:
    """Sends COMPOUNDs, many at a time, and gives their results in order."""
    CREDENTIAL = struct.pack(">IIIIIII", 1, 20, 0, 0, 0, 0, 0) + struct.pack(">II", 0, 0)

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.xid, self.buffer = 0, b""

    def send(self, operations, count):
        self.xid += 1
        call = struct.pack(">IIIIII", self.xid, 0, 2, 100003, 4, 1) + self.CREDENTIAL
        call += struct.pack(">III", 0, 1, count) + operations
        self.socket.sendall(struct.pack(">I", 0x80000000 | len(call)) + call)

    def receive(self):
        """Results of the operations: what follows status, tag and number."""
        while len(self.buffer) < 4 or len(self.buffer) < 4 + (struct.unpack(">I", self.buffer[:4])[0] & 0x7fffffff):
            part = self.socket.recv(1 << 20)
            if not part:
                sys.exit("the server has closed the connection")
            self.buffer += part
        length = struct.unpack(">I", self.buffer[:4])[0] & 0x7fffffff
        record, self.buffer = self.buffer[4:4 + length], self.buffer[4 + length:]
        status = struct.unpack(">I", record[24:28])[0]
        if status != 0:
            sys.exit(f"a request failed with status {status}")
        return record[36:]

    def all(self, requests, window=32):
        """requests: an iterable of (operations, count). Gives the results."""
        waiting = 0
        for operations, count in requests:
            if waiting == window:
                yield self.receive()
                waiting -= 1
            self.send(operations, count)
            waiting += 1
        for _ in range(waiting):
            yield self.receive()


def exchange_id(name):
    return struct.pack(">IQ", 42, 1) + opaque(name) + struct.pack(">III", 0, 0, 0)


def create_session(client, seqid):
    channel = struct.pack(">IIIIIII", 0, 1 << 20, 1 << 20, 8192, 128, 4, 0)
    return struct.pack(">IQII", 43, client, seqid, 1) + channel + channel + struct.pack(">III", 0, 1, 0)


def sequence(session, seqid):
    return struct.pack(">I", 53) + session + struct.pack(">IIII", seqid, 0, 3, 0)


PUTROOTFH = struct.pack(">I", 24)


def open_file(client, name, create):
    head = struct.pack(">IIIIQ", 18, 0, 3, 0, client) + opaque(b"owner")
    how = struct.pack(">IIII", 1, 0, 0, 0) if create else struct.pack(">I", 0)
    return head + how + struct.pack(">I", 0) + opaque(name)


def lock(client, number):
    """Of a byte of its own, by the current stateid, for an owner that is new to the file."""
    current = struct.pack(">IQI", 1, 0, 0)
    return (struct.pack(">IIIQQI", 12, 2, 0, number, 1, 1) + struct.pack(">I", 0) + current +
            struct.pack(">IQ", 0, client) + opaque(b"locker"))


class Server:
    def __init__(self, program, directory, config):
        self.program, self.data = program, directory
        self.process = subprocess.Popen([program, "serve", "--config", config], stdout=open(f"{directory}/messages", "w"),
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def child(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def status(self):
        asked = subprocess.run([self.program, "status", "--json", f"{self.data}/data"], capture_output=True, text=True)
        return json.loads(asked.stdout) if asked.returncode == 0 else {}

    def wait(self, other_than=0):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self.child() not in (0, other_than) and "restoration" in self.status():
                return
            time.sleep(0.05)
        sys.exit("the server does not serve")

    def resident(self):
        for line in pathlib.Path(f"/proc/{self.child()}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--clients", type=int, default=10000)
    parser.add_argument("--opens", type=int, default=100, help="of each client, with a lock each")
    parser.add_argument("--port", type=int, default=20991)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-state-", dir="/var/tmp") as directory:
        config = f"{directory}/perdure.toml"
        text = CONFIG.format(port=options.port, clients_max=options.clients + 10)
        pathlib.Path(config).write_text(text.replace("[server]\n", f'[server]\ndata = "{directory}/data"\n'))
        server = Server(options.server, directory, config)
        try:
            measure(server, options)
        finally:
            server.process.terminate()
            server.process.wait(120)


def measure(server, options):
    server.wait()
    connection = Connection(options.port)
    before = server.resident()
    numbers = range(options.clients)
    exchanged = [struct.unpack(">QI", r[8:20]) for r in
                 connection.all((exchange_id(b"client %d" % n), 1) for n in numbers)]
    sessions = [r[8:24] for r in connection.all((create_session(*e), 1) for e in exchanged)]
    list(connection.all((sequence(s, 1) + struct.pack(">II", 58, 0), 2) for s in sessions))
    clients = server.resident()
    print(f"{options.clients} idle clients: {(clients - before) / options.clients:.0f} bytes each")

    def requests():
        for n in numbers:
            seqid = 2
            for begin in range(0, options.opens, LOCKS_AT_ONCE):
                files = range(begin, min(options.opens, begin + LOCKS_AT_ONCE))
                operations = b"".join(PUTROOTFH + open_file(exchanged[n][0], b"file %d" % f, n == 0) + lock(exchanged[n][0], n)
                                      for f in files)
                yield sequence(sessions[n], seqid) + operations, 1 + 3 * len(files)
                seqid += 1
    began = time.monotonic()
    # A session's requests are all on one slot, so each client's next one waits for its last: one connection, in order.
    for _ in connection.all(requests(), window=1):
        pass
    took = time.monotonic() - began
    count = options.clients * options.opens
    print(f"{count} opens and {count} locks: {(server.resident() - clients) / count:.0f} bytes for one of each; made in {took:.0f} s")
    client_state = server.status()["client_state"]
    for kill in (1, 2):
        old = server.child()
        subprocess.run(["kill", "-KILL", str(old)], check=True)
        killed = time.monotonic()
        server.wait(old)
        waited = time.monotonic() - killed
        status = server.status()
        restoration = status["restoration"]
        print(f"kill {kill}: served again after {restoration['total_ms']:.0f} ms ({waited:.2f} s from the kill), "
              f"{restoration['records_redone']} records redone in {restoration['redo_ms']:.0f} ms")
        for what in ("clients", "sessions", "opens", "lock_states"):
            if status["client_state"][what] != client_state[what]:
                sys.exit(f"{client_state[what]} {what} before, {status['client_state'][what]} after it")
    # A client goes on.
    connection = Connection(options.port)
    connection.send(sequence(sessions[0], 2 + -(-options.opens // LOCKS_AT_ONCE)) + PUTROOTFH, 2)
    connection.receive()
    print(f"memory after that: {server.resident() / (1 << 20):.0f} MiB")


if __name__ == "__main__":
    main()
