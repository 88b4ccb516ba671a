"""Access control lists: set, inherited and in step with the mode; against a model of what the client hands over."""
import os
import stat
import struct

from .workload import check, drop_caches, repeat_turns

ATTRIBUTE = "system.nfs4_acl"
ALLOW, DENY = 0, 1
INHERIT_TO_FILES, INHERIT_TO_DIRECTORIES, INHERIT_ONLY, IS_GROUP = 0x1, 0x2, 0x8, 0x40
READ, WRITE, APPEND, EXECUTE = 0x1, 0x2, 0x4, 0x20
FILE_RIGHTS = 0x1e01bf  # all but to delete a child
OTHER_RIGHTS = FILE_RIGHTS & ~(READ | WRITE | APPEND | EXECUTE)
TURNS = 3  # in one round, times the scale


def encode(entries):
    data = struct.pack(">I", len(entries))
    for kind, flags, mask, who in entries:
        name = who.encode()
        data += struct.pack(">IIII", kind, flags, mask, len(name)) + name + bytes(-len(name) % 4)
    return data


def decode(data):
    (count,), at, entries = struct.unpack_from(">I", data), 4, []
    for _ in range(count):
        kind, flags, mask, length = struct.unpack_from(">IIII", data, at)
        entries.append((kind, flags, mask, data[at + 16:at + 16 + length].decode()))
        at += 16 + length + -length % 4
    check(at == len(data), f"{len(data)} bytes for a list that is {at} long")
    return entries


def random_entries(random):
    """All but that for EVERYONE@, with which a list ends."""
    entries = []
    for _ in range(random.randrange(4)):
        user, group = str(random.randrange(1000, 1004)), str(random.randrange(2000, 2004))
        who, flags = random.choice((("OWNER@", 0), ("GROUP@", IS_GROUP), (user, 0), (group, IS_GROUP)))
        entries.append((random.choice((ALLOW, ALLOW, DENY)), flags, random.getrandbits(21) & FILE_RIGHTS or READ, who))
    return entries


def mode_of(entries):
    """What the nine bits are by RFC 8881 section 6.3.2: the first entry that says something of a right decides, for each of owner,
    group and others; group entries and EVERYONE count for the group, EVERYONE alone for others."""
    mode = 0
    for shift, subjects in ((6, ("OWNER@", "EVERYONE@")), (3, ("GROUP@", "EVERYONE@")), (0, ("EVERYONE@",))):
        said = allowed = 0
        for kind, _, mask, who in entries:
            if who in subjects:
                allowed |= mask & ~said if kind == ALLOW else 0
                said |= mask
        bits = 4 * bool(allowed & READ) + 2 * (allowed & (WRITE | APPEND) == WRITE | APPEND) + bool(allowed & EXECUTE)
        mode |= bits << shift
    return mode


def found(path):
    return decode(os.getxattr(path, ATTRIBUTE))


def turn(random, name):
    os.mkdir(name)
    entries = random_entries(random) + [(ALLOW, 0, OTHER_RIGHTS | random.choice((0, READ, READ | EXECUTE)), "EVERYONE@")]
    inherit = random.choice((INHERIT_TO_FILES, INHERIT_TO_DIRECTORIES, INHERIT_TO_FILES | INHERIT_TO_DIRECTORIES))
    guest = (ALLOW, inherit, READ | EXECUTE | OTHER_RIGHTS, "1010")
    os.setxattr(name, ATTRIBUTE, encode([guest, *entries]))
    check(found(name) == [guest, *entries], f"{name}: {found(name)}, not {[guest, *entries]}")

    path = f"{name}/file"
    # An exclusive one inherits nothing with NFSv4.0, which creates it without attributes (RFC 8881 section 6.4.3 no. 4).
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
    os.mkdir(f"{name}/below")
    for child, flag in ((path, INHERIT_TO_FILES), (f"{name}/below", INHERIT_TO_DIRECTORIES)):
        counts = any(who == "1010" and not flags & INHERIT_ONLY for _, flags, _, who in found(child))
        check(counts == bool(inherit & flag), f"{child} in a directory with {guest} has {found(child)}")

    os.setxattr(path, ATTRIBUTE, encode(entries))
    drop_caches()
    check(found(path) == entries, f"{path}: {found(path)}, not {entries}")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    check(mode == mode_of(entries), f"{path}: mode {mode:o}, but {mode_of(entries):o} by {entries}")
    wanted = random.getrandbits(9)
    os.chmod(path, wanted)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    check(mode == wanted, f"{path}: mode {mode:o} after chmod {wanted:o}")
    check(mode_of(found(path)) == wanted, f"{path}: {found(path)} after chmod {wanted:o}")

    os.unlink(path)
    os.rmdir(f"{name}/below")
    os.rmdir(name)


def main(options):
    turns, rounds = repeat_turns(options, TURNS * options.scale, turn)
    return f"{turns} directories in {rounds} rounds"
