#!/usr/bin/env python3
"""Files stay short, and none holds what does not belong into a repository."""
import re

from sources import arguments, finish, read, tracked

LINES_MAX = 800
# Data that no one reads from top to bottom.
LONG_BY_NATURE = ("LICENSE",)
NO_TEXT = "test/fuzz/corpus/"

FORBIDDEN = [
    (r"/(home|Users)/[a-z]", "somebody's home directory"),
    (r"/root/[a-z]", "somebody's home directory"),
    (r"/" + r"work/", "a path of one machine"),
    (r"\bTO" + r"DO\b|\bFIX" + r"ME\b|\bX" + r"XX\b", "finish it, or write it into an issue"),
    (r"[ \t]+$", "white space at the end of the line"),
    (r"\r", "carriage return"),
]


def findings():
    for name in tracked(""):
        if name.startswith(NO_TEXT):
            continue
        lines = read(name).splitlines()
        if len(lines) > LINES_MAX and name not in LONG_BY_NATURE:
            yield f"{name}:{LINES_MAX}: {len(lines)} lines, more than {LINES_MAX}"
        for number, line in enumerate(lines, 1):
            for pattern, why in FORBIDDEN:
                if re.search(pattern, line):
                    yield f"{name}:{number}: {why}: {line.strip()}"


arguments(__doc__)
finish(list(findings()))
