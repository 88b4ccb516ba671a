#!/usr/bin/env python3
"""docs/operations.md describes every key of the configuration, and the commented first configuration shows it."""
import re

from sources import arguments, finish, read

# Decided by where the file is; and written by `perdure cluster init`.
NOT_SHOWN = {("server", "data")}
SECTIONS_NOT_SHOWN = {"pair"}


def findings():
    keys = re.findall(r'^ +\{"(server|vserver|pair|export|limits|log)", "(\w+)",', read("src/server/config.cc"), re.MULTILINE)
    if len(keys) < 10:
        yield "src/server/config.cc:1: its table of keys is not as this check expects it"
    described = {(section, key) for section, text in re.findall(
        r"^### \[+(\w+)\]+\n(.*?)(?=^##)", read("docs/operations.md"), re.MULTILINE | re.DOTALL)
        for row in re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    shown, section = set(), None
    for line in read("src/server/first_config.cc").splitlines():
        if found := re.match(r"\[+(\w+)\]+$", line):
            section = found[1]
        elif found := re.match(r"(?:# )?(\w+) = ", line):
            shown.add((section, found[1]))
    for key in sorted(set(keys) - described):
        yield f"docs/operations.md:1: does not describe {key[1]} of [{key[0]}]"
    for key in sorted(described - set(keys)):
        yield f"docs/operations.md:1: describes {key[1]} of [{key[0]}], which does not exist"
    for key in sorted(set(keys) ^ shown):
        if key not in NOT_SHOWN and key[0] not in SECTIONS_NOT_SHOWN:
            yield f"src/server/first_config.cc:1: {key[1]} of [{key[0]}] is missing here, or does not exist"


arguments(__doc__)
finish(list(findings()))
