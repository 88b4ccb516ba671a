"""NFS-Ganesha and Perdure as child processes on free ports, for the scripts that measure them."""
import os
import shutil
import signal
import socket
import subprocess
import time

GANESHA = "ganesha.nfsd"

# A fair opponent: what is not needed is off (statistics, NFSv3 and its helpers, delegations), limits are as large as Perdure's.
GANESHA_CONFIG = """
NFS_CORE_PARAM {{
  NFS_Port = {port};
  Bind_addr = 127.0.0.1;
  Protocols = 4;
  mount_path_pseudo = true;
  Enable_NLM = false;
  Enable_RQUOTA = false;
  Enable_UDP = false;
  Enable_NFS_Stats = false;
  RPC_Ioq_ThrdMax = 200;
}}
NFSV4 {{
  Minor_Versions = 1,2;
  RecoveryBackend = fs;
  RecoveryRoot = {dir}/recovery;
  Delegations = false;
  Only_Numeric_Owners = true;
  Slot_Table_Size = 64;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
MDCACHE {{ Entries_HWMark = 500000; }}
LOG {{
  Default_Log_Level = EVENT;
  Facility {{ name = FILE; destination = "{dir}/ganesha.log"; enable = active; }}
}}
EXPORT {{
  Export_Id = 1;
  Path = {dir}/export;
  Pseudo = /export;
  Access_Type = RW;
  Squash = No_Root_Squash;
  SecType = sys;
  Protocols = 4;
  Transports = TCP;
  MaxRead = 1048576;
  MaxWrite = 1048576;
  PrefRead = 1048576;
  PrefWrite = 1048576;
  FSAL {{ Name = VFS; }}
}}
"""

PERDURE_CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
crashes_max = 1000000
{server}
[vserver]
durability = "disk"
[[export]]
path = "/"
squash = "none"
clients = ["127.0.0.0/8"]
[log]
level = "warning"
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A running server. `pid` is the process (tree) whose CPU time and memory count."""

    def __init__(self, name, path, port, command, log):
        self.name = name
        self.path = path
        self.port = port
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.pid = self.process.pid
        try:
            self._wait()
        except Exception:
            self.stop()
            raise

    def _wait(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not start; see {self.log}")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def target(self):
        """As `perdure bench --compare` wants it."""
        return f"{self.name}={self.address}{self.path},pid={self.pid}"

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def have_ganesha():
    return shutil.which(GANESHA) is not None


def start_ganesha(directory):
    for name in ("export", "recovery"):
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    port = free_port()
    config = os.path.join(directory, "ganesha.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(GANESHA_CONFIG.format(port=port, dir=directory))
    command = [GANESHA, "-F", "-f", config, "-L", os.path.join(directory, "ganesha.log"),
               "-p", os.path.join(directory, "ganesha.pid")]
    return Server("ganesha", "/export", port, command, os.path.join(directory, "ganesha.out"))


def start_perdure(binary, directory, memory=None, extra=()):
    """`extra`: further lines of the configuration's [server] section."""
    os.makedirs(directory, exist_ok=True)
    port = free_port()
    lines = list(extra)
    if memory:
        lines.append(f"memory_bytes = {memory}")
    config = os.path.join(directory, "perdure.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(PERDURE_CONFIG.format(port=port, server="\n".join(lines)))
    command = [binary, "serve", "--config", config, "--data", os.path.join(directory, "data")]
    return Server("perdure", "/", port, command, os.path.join(directory, "perdure.out"))
