"""Untars a tree, compares it with the archive, copies and compares it, and removes it."""
import os

from .workload import check, command, drop_caches, make_tree, repeat

FILES = 60  # times the scale


def main(options):
    def one_round(random, number):
        original, archive = f"/tmp/original{number}", f"/tmp/original{number}.tar"
        os.mkdir(original)
        make_tree(options, original, random, FILES * options.scale, links=True)
        command(options, "tar", "-C", original, "-cf", archive, ".")
        os.mkdir("copy")
        command(options, "tar", "-C", "copy", "-xf", archive)
        command(options, "diff", "-r", "--no-dereference", original, "copy")
        drop_caches()
        # Times, modes, owners, sizes, links and content.
        command(options, "tar", "-C", "copy", "--compare", "-f", archive)
        command(options, "cp", "-a", "copy", "second")
        command(options, "rm", "-rf", "copy", archive)
        drop_caches()
        command(options, "diff", "-r", "--no-dereference", original, "second")
        command(options, "rm", "-rf", "second", original)
        check(os.listdir() == [], f"rm -rf left {os.listdir()}")

    rounds = repeat(options, one_round)
    return f"{rounds} trees of {FILES * options.scale} files"
