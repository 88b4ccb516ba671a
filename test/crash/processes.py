"""Processes of this machine, as /proc shows them."""
import os
import pathlib


def child_of(pid):
    """The process id of its first child, or None while there is none."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def is_alive(pid):
    """Also while only its main thread is dead: the others still hold its sockets and files."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except FileNotFoundError:
        return False
