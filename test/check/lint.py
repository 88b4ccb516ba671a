#!/usr/bin/env python3
"""clang-tidy with the checks of .clang-tidy, on every source file but tests (unless they are named, or with --all).

A file that was clean is not looked at again until it, a header of the project that it includes, or the checks change:
BUILD/lint/ holds one empty file per clean state, named by its hash.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys

from sources import ROOT, arguments, read

TIDY = ["clang-tidy-19", "--quiet", "--warnings-as-errors=*", "--extra-arg=-Wno-unknown-warning-option"]


def closure(name, seen):
    """The file and all headers of src/ that it includes, directly or not."""
    if name in seen or not os.path.isfile(os.path.join(ROOT, name)):
        return
    seen.add(name)
    for header in re.findall(r'^\s*#\s*include\s*"([^"]+)"', read(name), re.MULTILINE):
        closure("src/" + header, seen)


def fingerprint(name, common):
    files = set()
    closure(name, files)
    digest = hashlib.sha256(common.encode())
    for file in sorted(files):
        digest.update(f"{file}\0{read(file)}\0".encode())
    return digest.hexdigest()


def main():
    options = arguments(__doc__, ("--all", "tests as well"), files=True)
    build = os.path.join(ROOT, options.build)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    names = sorted({os.path.relpath(c["file"], ROOT) for c in commands})
    if options.files:
        names = [name for name in names if name in options.files]
    elif not options.all:
        names = [name for name in names if not re.search(r"_(test|bench)\.cc$|^test/|/testing/", name)]
    version = subprocess.run(["clang-tidy-19", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    common = version + read(".clang-tidy") + read("CMakeLists.txt") + " ".join(TIDY)
    cache = os.path.join(build, "lint")
    os.makedirs(cache, exist_ok=True)

    stamps = {name: os.path.join(cache, fingerprint(name, common)) for name in names}
    todo = [name for name in names if not os.path.exists(stamps[name])]

    def lint(name):
        return subprocess.run([*TIDY, "-p", build, name], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, result in zip(todo, pool.map(lint, todo)):
            if result.returncode == 0:
                open(stamps[name], "w", encoding="utf-8").close()
            else:
                failed += 1
                print(result.stdout.replace(ROOT + "/", ""), end="")
                if not result.stdout.strip():
                    print(f"{name}:1: clang-tidy: {result.stderr.strip()}")
    print(f"lint: {len(names)} files, {len(todo)} looked at, {failed} with findings")
    sys.exit(1 if failed else 0)


main()
