#!/usr/bin/env python3
"""Changes the exports of a running server with `perdure reload`, in right ways and wrong ones, and kills the server process in between:
what is in force is what the last right configuration says.

    exports.py --server PERDURE
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from first_start import CONFIG

SEVERAL = CONFIG + '[[export]]\npath = "/home"\n[[export]]\npath = "/old"\nvolume = "volume1"\n'
PATIENCE_SECONDS = 60


class Server:
    def __init__(self, program, data, messages):
        self.program, self.data = program, data
        self.process = subprocess.Popen([program, "serve", "--data", data, "--listen", "127.0.0.1:0"],
                                        stdout=messages, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def exports(self):
        """None: it does not answer now."""
        asked = subprocess.run([self.program, "status", "--json", self.data], capture_output=True, text=True)
        if asked.returncode != 0:
            return None
        exports = json.loads(asked.stdout).get("exports")
        return None if exports is None else sorted((e["path"], e["volume"]) for e in exports)

    def expect(self, *exports):
        wanted = sorted(exports)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                sys.exit(f"the server has ended with {self.process.returncode}")
            found = self.exports()
            if found == wanted:
                return
            time.sleep(0.05)
        sys.exit(f"it exports {found} instead of {wanted}")

    def reload(self):
        return subprocess.run([self.program, "reload", self.data], capture_output=True, text=True)

    def kill_server_process(self):
        """The guardian's child; True when another one is there."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        old = children.read_text().split()
        subprocess.run(["kill", "-KILL", *old], check=True)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            now = children.read_text().split()
            if now and now != old:
                return
            time.sleep(0.01)
        sys.exit("the server process does not come back")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    program = parser.parse_args().server
    with tempfile.TemporaryDirectory(prefix="perdure-exports-") as directory:
        data = pathlib.Path(directory, "data")
        data.mkdir()
        config = data / "perdure.toml"
        config.write_text(CONFIG)
        with open(f"{directory}/messages", "w") as messages:
            server = Server(program, str(data), messages)
        try:
            server.expect(("/", "volume1"))

            config.write_text(SEVERAL)
            told = server.reload()
            if told.returncode != 0:
                sys.exit(f"reload: {told.stderr}")
            server.expect(("/home", "home"), ("/old", "volume1"))

            config.write_text(CONFIG + '[[export]]\npath = "home"\n')
            told = server.reload()
            line = CONFIG.count("\n") + 2
            if told.returncode != 1 or f"perdure.toml:{line}: path: must be a path" not in told.stderr:
                sys.exit(f"a wrong configuration: {told.returncode} {told.stderr}")
            server.expect(("/home", "home"), ("/old", "volume1"))

            # The file as it is now counts only when it is right.
            server.kill_server_process()
            server.expect(("/home", "home"), ("/old", "volume1"))
        finally:
            server.process.terminate()
            ended = server.process.wait(PATIENCE_SECONDS)
        if ended != 0:
            sys.exit(f"it stopped with {ended}")
        config.write_text(SEVERAL)
        checked = subprocess.run([program, "check", str(data)], capture_output=True, text=True)
        if checked.returncode != 0:
            sys.exit(f"perdure check: {checked.stdout}{checked.stderr}")
    print("exports: reloaded, refused, and kept over a kill")


if __name__ == "__main__":
    main()
