"""What happens to a pair. Each failure is begun, lasts a while, and is mended; then the pair has to become whole again."""
import contextlib
import os
import signal
import time

from blades import PairError


@contextlib.contextmanager
def mirror_stays(test):
    """If there is a second path between the blades, what happens to the link changes nothing in the pair."""
    if test.options.paths == 1:
        yield
        return
    test.pair.wait_paths(test.options.paths)
    before = test.pair.epoch()
    yield
    if test.pair.epoch() != before:
        raise PairError(f"the pair has changed, though there is a second path\n{test.pair.last_messages()}")


def kill_primary(test, primary, mirror):
    """SIGKILL of guardian and server process; the blade is started again after a while."""
    primary.kill()
    test.rest()
    primary.start()


def kill_process(test, primary, mirror):
    """SIGKILL of the primary's server process alone: its guardian starts it again."""
    os.kill(primary.process(), signal.SIGKILL)


def lose_machine(test, primary, mirror):
    """The primary's machine is gone without a word: no FIN, no RST."""
    test.network.isolate(primary.name)
    test.rest()
    primary.kill()
    test.network.isolate(primary.name, False)
    primary.start()


def isolate(test, primary, mirror):
    """The primary's machine is cut off from all others, and lives on."""
    test.network.isolate(primary.name)
    test.rest()
    test.network.isolate(primary.name, False)


def cut_link(test, primary, mirror):
    """The link between the blades."""
    with mirror_stays(test):
        test.network.silence(primary.name, "peer")
        test.rest()
    test.network.silence(primary.name, "peer", False)


def one_way(test, primary, mirror):
    """The link between the blades, in one direction."""
    sender, receiver = test.random.sample([primary, mirror], 2)
    with mirror_stays(test):
        test.network.lose(sender.name, receiver.name, "peer")
        test.rest()
    test.network.lose(sender.name, receiver.name, "peer", False)


def flap(test, primary, mirror):
    """The link comes and goes."""
    with mirror_stays(test):
        for _ in range(6):
            test.network.silence(primary.name, "peer")
            time.sleep(test.random.uniform(0.02, 0.5))
            test.network.silence(primary.name, "peer", False)
            time.sleep(test.random.uniform(0.02, 0.5))


def stop_arbiter(test, primary, mirror):
    """etcd stands still. Both blades are well: service goes on."""
    test.pair.arbiter.stop()
    test.rest()
    test.pair.arbiter.stop(False)


def pause_primary(test, primary, mirror):
    """The primary's server process stands still, and goes on after the takeover."""
    pid = primary.process()
    os.kill(pid, signal.SIGSTOP)
    test.rest()
    os.kill(pid, signal.SIGCONT)


def kill_mirror(test, primary, mirror):
    """SIGKILL of the mirror's guardian and server process."""
    mirror.kill()
    test.rest()
    mirror.start()


def kill_both_in_turn(test, primary, mirror):
    """The primary; and as soon as it is a mirror again, the new primary."""
    primary.kill()
    time.sleep(0.5)
    primary.start()
    test.pair.wait_in_sync()
    mirror.kill()
    test.rest()
    mirror.start()


def unplug_client(test, primary, mirror):
    """The primary's port to the clients has no carrier. (That of the mirror has been well for a while.)"""
    deadline = time.monotonic() + 10
    while not primary.status()["server"]["pair"].get("follower", {}).get("clients_reach_it"):
        if time.monotonic() > deadline:
            raise PairError("clients do not reach the mirror")
        time.sleep(0.1)
    test.network.unplug(primary.name, "client")
    test.rest()
    test.network.unplug(primary.name, "client", False)


def switchover(test, primary, mirror):
    """perdure cluster switchover, given on either blade. It is refused while a port has just come back."""
    deadline = time.monotonic() + 10
    while True:
        blade = test.random.choice([primary, mirror])
        done = blade.run("cluster", "switchover", "--data", str(blade.data), check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise PairError(f"no switchover: {done.stdout}{done.stderr}")
        time.sleep(0.2)


def upgrade(test, primary, mirror):
    """The mirror's server is stopped and replaced by the other version, if there are two, and is to be the primary."""
    mirror.stop()
    mirror.program = test.pair.programs[test.pair.programs[0] == mirror.program]
    mirror.start()
    test.pair.wait_in_sync()
    switchover(test, primary, mirror)


KINDS = {kind.__name__.replace("_", "-"): kind for kind in (
    kill_primary, kill_process, lose_machine, isolate, cut_link, one_way, flap, stop_arbiter, pause_primary, kill_mirror,
    kill_both_in_turn, unplug_client, switchover, upgrade)}
