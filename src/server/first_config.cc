#include "server/config.h"

namespace perdure::server {

std::string_view first_config_text() {
  return R"toml(# Perdure's configuration, as it was written when this data directory was made. It is read at every start; what
# the command line says goes before it. Lines that begin with '#' show what holds without them. Sizes may be
# written as "4GiB"; docs/operations.md describes every key.

[server]
# Where clients connect. As it stands only programs of this machine can. For others write "0.0.0.0:2049" (all
# addresses) or an address of this machine, and name the clients under [[export]].
listen = ["127.0.0.1:2049"]

# Memory for caches and data that is not written yet. The default is half of the machine's.
# memory_bytes = "4GiB"

# A small process of its own that restarts the server the moment it dies or hangs.
# guardian = true
# start_seconds = 600
# hang_seconds = 5
# stop_seconds = 30
# crashes_max = 5
# crash_seconds = 60

[vserver]
# What an answer to a client promises. "disk": what it was told survives the death of the server and a power cut.
# "memory": it survives nothing; for scratch data alone.
durability = "disk"

# The state machine log: a file in the data directory, or better a partition of a fast device. Its size is fixed
# when it is made.
# log_path = "log"
# log_bytes = "512MiB"

# The data of the files: a file that grows by steps up to a limit (0: as much as its file system holds), or a device.
# block_path = "blocks"
# blocks_bytes_max = 0
# blocks_step_bytes = "256MiB"

# How long a client may be silent before others may take its locks.
# lease_seconds = 90
# courtesy_seconds = 86400

# Whether clients may be told that a file is theirs, to be given back when somebody else wants it.
# delegations = true

# Clients may name users and groups "name@domain", with this domain; "": of this machine's name. They are told names
# instead of numbers if owner_names says so.
# owner_domain = ""
# owner_names = false

# A checkpoint is made after so many records or bytes of log: they bound what a restart has to redo.
# checkpoint_records_max = 60000
# checkpoint_bytes_max = "128MiB"

# What clients see. There may be several, each a volume of its own: see docs/operations.md. `perdure reload` makes
# a running server read them again.
[[export]]
path = "/"
# volume = "volume1"
# locations = []
# read_only = false

# Whose requests run as the anonymous user: "none", "root" or "all". "root" is the default, and right wherever
# the root users of the clients are not trusted; here root is root, so that a first try works as expected.
squash = "none"
# anonymous_uid = 65534
# anonymous_gid = 65534

# Who may connect.
clients = ["127.0.0.0/8", "::1"]

[limits]
# connections_max = 4096
# clients_max = 4096
# slots_max = 64
# slots_total = 65536
# sessions_max = 16
# opens_max = 2000000
# locks_max = 4000000
# delegations_max = 100000
# io_bytes_max = "1MiB"
# request_seconds = 30

[log]
# Messages go to standard error: "debug", "info", "warning" or "error" and what is worse.
level = "info"
)toml";
}

}  // namespace perdure::server
