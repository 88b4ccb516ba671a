#!/usr/bin/env python3
"""Runs a command in a real Linux kernel's NFS client, which mounts an export of a server on this machine.

The client is Debian's user-mode Linux kernel: a process that needs neither KVM nor modules of the machine's own
kernel. Guests without a mount, with disks of their own, are test/power's servers. A guest's root is the machine's file system, read-only, under an overlay in memory: every program is there, and
what the guest writes is gone when it ends, but for the mounted export (/mnt/export, where the command starts) and
the directories given by --share.

Exit status: the command's; 124 if --timeout ended it; 125 if the guest or the mount failed (standard error says
why).
"""
import argparse
import fcntl
import os
import pathlib
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
KERNEL = "/usr/bin/linux.uml"
BOOT_SECONDS_MAX = 300
TIMED_OUT, FAILED = 124, 125


class GuestError(Exception):
    """The guest could not be started, did not boot, or could not mount."""


class Slot:
    """A tap device with an address for the host and one for the guest. Each guest needs one of its own.

    Made first, so that a server may listen on host_address alone before the guest is started.
    """

    COUNT = 64
    NETWORK = os.environ.get("PERDURE_GUEST_NETWORK", "192.168.78")  # a /24, in parts of four addresses

    def __init__(self):
        for number in range(self.COUNT):
            self.lock = os.open(f"/run/lock/perdure-guest.{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(self.lock)
        else:
            raise GuestError(f"{self.COUNT} guests are running already")
        self.number = number
        self.device = f"perdure{number}"
        self.host_address = f"{self.NETWORK}.{4 * number + 1}"
        self.guest_address = f"{self.NETWORK}.{4 * number + 2}"
        # The same at each boot: whoever talks to a guest that was started again would wait for ARP otherwise.
        self.guest_mac = f"52:54:00:70:65:{number:02x}"
        self._remove_device()  # of one that was killed
        try:
            run("ip", "tuntap", "add", "dev", self.device, "mode", "tap")
            run("ip", "address", "add", self.host_address + "/30", "dev", self.device)
            run("ip", "link", "set", self.device, "mtu", "1500", "up")
        except GuestError:
            self.close()
            raise

    def _remove_device(self):
        # The kernel lets go of it a moment after the guest's last process is gone.
        for _ in range(50):
            if not os.path.exists(f"/sys/class/net/{self.device}"):
                return
            if subprocess.run(["ip", "link", "delete", self.device], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)

    def close(self):
        self._remove_device()
        os.close(self.lock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Guest:
    """One guest that runs one command, in the mounted export, or in / where `export` is None. start() from a thread that
    outlives the guest, then poll() until it is not None. `disks` are files of the host, the guest's /dev/ubda and so on."""

    def __init__(self, slot, command, *, server=None, port=2049, export="/", version="4.2", options="",
                 memory="512M", name=None, shares=(), disks=(), mount_seconds=30, unmount=True, keep=False,
                 verbose=False, stdout=None, stderr=None):
        self.slot = slot
        self.keep = keep
        self.name = name or f"guest-{slot.number}"
        self.verbose = verbose
        self.memory = memory
        self.shares = [os.path.realpath(share) for share in shares]
        self.disks = [os.path.realpath(disk) for disk in disks]
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="perdure-guest."))
        self.exchange = self.work / "exchange"
        self.exchange.mkdir()
        self.process = None
        self.events = []   # what the guest reported, each as a list of words
        self.status = None
        self._outputs = [(stdout or sys.stdout.buffer, "stdout"), (stderr or sys.stderr.buffer, "stderr")]
        self._read = {}    # how much of each file of the exchange directory was read
        self._finished_at = None

        mount_options = [f"vers={version}", "proto=tcp", f"port={port}", "retry=0"] + ([options] if options else [])
        settings = {
            "name": self.name,
            "guest_address": slot.guest_address,
            "host_address": slot.host_address,
            "server": server or slot.host_address,
            "mounts": "no" if export is None else "yes",
            "export_path": export or "",
            "options": ",".join(mount_options),
            "mount_seconds": mount_seconds,
            "unmount": "yes" if unmount else "no",
        }
        lines = [f"{key}={shlex.quote(str(value))}\n" for key, value in settings.items()]
        lines.append(f"shares=({' '.join(map(shlex.quote, self.shares))})\n")
        (self.exchange / "settings").write_text("".join(lines))
        (self.exchange / "command").write_text("exec " + " ".join(map(shlex.quote, command)) + "\n")
        for file in ("events", "stdout", "stderr"):
            (self.exchange / file).touch()
        shutil.copy(HERE / "init.sh", self.exchange)

    def start(self):
        check_requirements()
        # Everything of the host is read-only for the guest's processes, but for what it is meant to write.
        writable = " ".join(map(shlex.quote, [str(self.work), *self.shares, *self.disks]))
        script = f"""
            for path in {writable}; do mount --bind "$path" "$path" || exit 1; done
            mkdir {self.work}/memory && mount -t tmpfs -o mode=700,size=95% memory {self.work}/memory || exit 1
            while read -r _ _ _ _ at _; do
              printf -v at %b "$at"
              for path in {writable} {self.work}/memory; do [ "$at" != "$path" ] || continue 2; done
              mount -o remount,bind,ro "$at" 2> /dev/null || [ "$at" != / ] || exit 1
            done < /proc/self/mountinfo
            mount -t proc proc /proc || exit 1
            export TMPDIR={self.work}/memory HOME={self.work}
            exec "$@"
        """
        kernel = [
            KERNEL, f"mem={self.memory}", "rootfstype=hostfs", "rootflags=/", "ro", f"init={self.exchange}/init.sh",
            f"exchange={self.exchange}", "umid=guest", f"uml_dir={self.work}/uml", "con=null", "con0=null,fd:1",
            f"vec0:transport=tap,ifname={self.slot.device},depth=128,gro=1,mac={self.slot.guest_mac}",
            *(f"ubd{letter}={disk}" for letter, disk in zip("abcdefgh", self.disks)), "printk.time=1", "panic=1"]
        shim = build_shim(self.work)
        with open(self.work / "console", "wb") as console:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                 "--kill-child=KILL", "bash", "-c", script, "bash",
                 *(["env", f"LD_PRELOAD={shim}"] if shim else []), *kernel],
                cwd=self.work, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        self.started = time.monotonic()

    def poll(self):
        """Passes on what the command wrote; its exit status once the guest is off, or None. Raises GuestError."""
        ended = self.process.poll() is not None
        self.pass_on()
        for line in self._new("events").decode().splitlines():
            self._happened(line.split(" "))
        age = time.monotonic() - self.started
        if not ended and self.status is not None:
            self._finished_at = self._finished_at or time.monotonic()
            if ["off"] in self.events or time.monotonic() - self._finished_at > 20:
                self.kill()
                ended = True
        if ended and self.status is not None:
            return self.status
        if ended or (not self.events and age > BOOT_SECONDS_MAX):
            self.kill()
            words = (self.work / "console").read_text(errors="replace").splitlines()[-25:]
            raise GuestError("the guest " + ("ended" if ended else "did not boot") + "; its last words:\n" +
                             "\n".join(words))
        return None

    def pass_on(self):
        """Passes on what the command wrote."""
        for stream, name in self._outputs:
            data = self._new(name)
            if data:
                stream.write(data)
                stream.flush()

    def wait(self, seconds=0):
        """Polls until the guest is off. After `seconds` (0: never) kills it and returns TIMED_OUT."""
        while (status := self.poll()) is None:
            if seconds and time.monotonic() - self.started > seconds:
                self.kill()
                return TIMED_OUT
            time.sleep(0.03)
        return status

    @property
    def is_mounted(self):
        return any(event[0] == "mounted" for event in self.events)

    def write_blocked(self):
        """Has the guest's kernel write to its console which tasks wait in it (sysrq w) and for which timers (sysrq q), even
        if no process in it runs any more: for the report of a guest that hangs."""
        # The management console of user-mode Linux: datagrams of up to 512 bytes (Linux, arch/um/drivers/mconsole.h).
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mconsole:
            mconsole.bind(str(self.work / "mconsole"))
            mconsole.settimeout(2)
            for command in (b"sysrq w", b"sysrq q"):
                try:
                    mconsole.sendto(struct.pack("III512s", 0xCAFEBABE, 2, len(command), command),
                                    str(self.work / "uml" / "guest" / "mconsole"))
                    while struct.unpack_from("II", mconsole.recv(1024))[1]:  # more is to come
                        pass
                except OSError:  # the last message may be lost, or the guest be gone meanwhile
                    pass
        (self.work / "mconsole").unlink()

    def kill(self):
        """Ends the guest as a power cut would. No process of it is left when this returns."""
        if not self.process or self.process.returncode is not None:
            return
        # The first process in the guest's PID namespace, the kernel itself, takes the rest with it, and is not gone before
        # they are. unshare, its parent, waits for that.
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children or [self.process.pid]:
            os.kill(int(pid), signal.SIGKILL)
        self.process.wait()

    def close(self):
        self.kill()
        if self.keep:
            print(f"guest: kept {self.work}", file=sys.stderr)
        else:
            shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _new(self, name):
        with open(self.exchange / name, "rb") as file:
            file.seek(self._read.get(name, 0))
            data = file.read()
        if name == "events":
            data = data[:data.rfind(b"\n") + 1]
        self._read[name] = self._read.get(name, 0) + len(data)
        return data

    def _happened(self, event):
        self.events.append(event)
        text = " ".join(event[1:])
        if self.verbose:
            print(f"guest: {time.monotonic() - self.started:6.2f} s: {' '.join(event)}", file=sys.stderr)
        if event[0] == "finished":
            self.status = int(event[1])
        elif event[0] == "warning":
            print("guest: " + text, file=sys.stderr)
        elif event[0] == "problem":
            self.kill()
            raise GuestError(text)


def run(*command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise GuestError(f"{' '.join(command)}: {result.stdout.strip()}")


def check_requirements():
    missing = [name for name, there in {
        "user-mode-linux": os.access(KERNEL, os.X_OK),
        "nfs-common": os.path.exists("/sbin/mount.nfs"),
        "iproute2": shutil.which("ip"),
        "kmod": os.path.exists("/sbin/modprobe"),
        "util-linux": shutil.which("unshare") and shutil.which("setpriv"),
    }.items() if not there]
    if missing:
        raise GuestError(f"packages are missing (./x deps test): {' '.join(missing)}")
    if os.geteuid() != 0:
        raise GuestError("only root may add the network device")
    if not os.path.exists("/dev/net/tun"):
        raise GuestError("there is no /dev/net/tun (modprobe tun)")


def build_shim(directory):
    """The library that lets the guest's kernel run on processors with AMX; None where it is not needed."""
    if "amx_tile" not in pathlib.Path("/proc/cpuinfo").read_text():
        return None
    library = directory / "xstate_shim.so"
    run("gcc", "-O2", "-shared", "-fPIC", "-Wl,-z,now", "-o", str(library), str(HERE / "xstate_shim.c"), "-ldl")
    return library


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--server", metavar="ADDRESS", help="default: this machine, as the guest sees it")
    option("--port", type=int, default=2049)
    option("--export", default="/", metavar="PATH")
    option("--vers", default="4.2", help="NFS version (default 4.2)")
    option("--opts", default="", help="more mount options")
    option("--mem", default="512M", help="memory of the guest")
    option("--name", help="host name of the guest, by which an NFSv4 server knows it")
    option("--share", action="append", default=[], metavar="DIR", help="directory of the host that it may write to")
    option("--timeout", type=float, default=0, metavar="SECONDS", help="for everything together; 0: no limit")
    option("--mount-timeout", type=int, default=30, metavar="SECONDS", help="how long to go on trying to mount")
    option("--power-cut", action="store_true", help="end without unmounting")
    option("--keep", action="store_true", help="keep the working directory (console output)")
    option("--verbose", action="store_true", help="say what happens when")
    option("command", nargs="+")
    arguments = parser.parse_args()

    def stop(signal_number, _):
        raise SystemExit(128 + signal_number)

    for signal_number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signal_number, stop)
    try:
        with Slot() as slot, Guest(
                slot, arguments.command, server=arguments.server, port=arguments.port, export=arguments.export,
                version=arguments.vers, options=arguments.opts, memory=arguments.mem, name=arguments.name,
                shares=arguments.share, mount_seconds=arguments.mount_timeout, unmount=not arguments.power_cut,
                keep=arguments.keep, verbose=arguments.verbose) as guest:
            guest.start()
            status = guest.wait(arguments.timeout)
            if status == TIMED_OUT:
                print("guest: timed out", file=sys.stderr)
            return status
    except GuestError as problem:
        print(f"guest: {problem}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
