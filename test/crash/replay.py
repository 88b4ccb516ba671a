"""The part of the crash test with a client of the project's own, `perdure bench crash`: many slots of one session, kept
across the kills; what was not answered is sent again with the same sequence ids, and each operation must have been
executed exactly once."""
import json
import subprocess

from figures import distribution
from server import Server, ServerError


class Replay:
    def __init__(self, options, random, directory):
        self.options = options
        self.random = random
        self.directory = directory / "replay"
        self.directory.mkdir()
        self.result = None

    def run(self):
        server = Server(self.options.server, self.directory, "127.0.0.1")
        try:
            server.start()
            server.first_answer()
            seconds = self.options.replay_seconds
            client = subprocess.run(
                # Not sooner than a second after the last restart: the guardian would then wait on purpose.
                [self.options.server, "bench", "crash", "--server", f"127.0.0.1:{server.port}", "--seconds", str(seconds),
                 "--kill-every", "2.5", "--kill-children-of", str(server.guardian.pid), "--cut-every", "1", "--seed",
                 str(self.random.randrange(1 << 30)), "--stall-max", "120", "--json",
                 "--crash-log", str(self.directory / "journal")],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600 + 10 * seconds)
            (self.directory / "client.log").write_text(client.stdout)
            try:
                self.result = json.loads(client.stdout.splitlines()[-1])
            except (IndexError, json.JSONDecodeError):
                self.result = None
            if client.returncode != 0 or not self.result or not self.result["good"]:
                raise ServerError(f"perdure bench crash: status {client.returncode}\n{client.stdout[-4000:]}\n"
                                  f"{server.last_messages()}")
            if self.result["kills"] < self.options.replay_kills_min:
                raise ServerError(f"{self.result['kills']} kills only")
            server.stop()
            if self.options.check:
                server.check(server.data, "--data")
        finally:
            server.close()

    def report(self):
        if not self.result:
            return
        r = self.result
        yield (f"replay: {r['kills']} kills, {r['cuts']} connections cut, {r['acknowledged']} changes acknowledged, "
               f"{r['requests_sent_again']} requests sent again" + (", each executed exactly once" if r["good"] else ""))
        yield "replay: from kill to first answer: " + distribution([ns / 1e6 for ns in r["resumed_after_kill_ns"]])
