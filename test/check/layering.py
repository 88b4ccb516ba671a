#!/usr/bin/env python3
"""Includes go in one direction only, and some headers only to some places.

Each directory of src/ may include itself, what LAYERS names, and what those may include in turn. External
headers of FENCED stay in the files named with them; the parts that run from events alone (PURE) neither read a
clock nor open a file nor start a thread.
"""
import fnmatch
import re

from sources import arguments, cxx, finish, read

# ARCHITECTURE.md explains this direction.
LAYERS = {
    "base": [],
    "env": ["base"],
    "log": ["env"],
    "store": ["env"],
    "state": ["log", "store"],
    "fs": ["state"],
    "client": ["state"],
    "processor": ["state", "log"],
    "wire": ["base"],
    "nfs4": ["wire", "fs", "client", "processor"],
    "mirror": ["state"],
    "server": ["nfs4", "mirror"],
    "bench": ["wire"],
    "tools": ["server", "bench"],
}

# header pattern -> where it may be included
FENCED = {
    "rocksdb/*": ["src/store/*.cc"],
    "liburing.h": ["src/env/linux/*", "src/server/*"],
    "asio.hpp": ["src/env/linux/*", "src/server/*"],
    "asio/*": ["src/env/linux/*", "src/server/*"],
    "toml++/*": ["src/server/*.cc"],
    "CLI/*": ["src/tools/*.cc"],
    "nlohmann/json_fwd.hpp": ["src/server/*"],
    "nlohmann/json.hpp": ["src/server/*.cc", "src/tools/*.cc", "src/bench/*.cc"],
    "isa-l*": ["src/base/*.cc"],
    "absl/strings/*": [],
}

PURE = ["log", "state", "fs", "client", "processor", "nfs4", "mirror"]
IMPURE = [
    (r"#include <(thread|mutex|condition_variable|future|fstream|filesystem|random|ctime|fcntl\.h|unistd\.h|time\.h)>",
     "comes from Env alone"),
    (r"std::chrono::(system|steady|high_resolution)_clock", "time comes from Env alone"),
    (r"std::unordered_", "its order depends on more than the events that came in"),
]


def reachable(directory):
    seen, todo = set(), [directory]
    while todo:
        for below in LAYERS[todo.pop()]:
            if below not in seen:
                seen.add(below)
                todo.append(below)
    return seen


def check_file(name, text):
    directory = name.split("/")[1]
    if directory not in LAYERS:
        yield f"{name}:1: the directory src/{directory} has no layer in test/check/layering.py"
        return
    allowed = reachable(directory) | {directory}
    is_test = re.search(r"_(test|bench)\.cc$|/testing/", name)
    for number, line in enumerate(text.splitlines(), 1):
        include = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if include and include[1] == '"':
            target = include[2].split("/")[0]
            if "/" not in include[2] or target not in LAYERS:
                yield f'{name}:{number}: "{include[2]}": includes start with a directory of src/'
            elif target not in allowed:
                yield f"{name}:{number}: {directory} must not include {target}"
        elif include:
            for pattern, places in FENCED.items():
                if fnmatch.fnmatch(include[2], pattern) and not any(fnmatch.fnmatch(name, p) for p in places):
                    yield f"{name}:{number}: <{include[2]}> stays in {', '.join(places) or 'nobody'}"
        if directory in PURE and not is_test:
            for pattern, why in IMPURE:
                if re.search(pattern, line):
                    yield f"{name}:{number}: '{line.strip()}': {why}"


def main():
    arguments(__doc__)
    finish([finding for name in cxx() if name.startswith("src/") for finding in check_file(name, read(name))])


main()
