"""The files that the checks look at, and how they report."""
import argparse
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def tracked(*suffixes):
    """Files of the repository (and new ones that are not ignored), relative to its root."""
    out = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    files = sorted(set(name for name in out.decode().split("\0") if name))
    return [f for f in files if f.endswith(suffixes) and os.path.isfile(os.path.join(ROOT, f))]


def cxx():
    return tracked(".h", ".cc")


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def arguments(description, *options, files=False):
    """Parses the command line that all checks share: --build DIR, plus flags of their own and file names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="build/lint", help="a configured build directory")
    for option, text in options:
        parser.add_argument(option, action="store_true", help=text)
    if files:
        parser.add_argument("files", nargs="*", help="look at these only")
    return parser.parse_args()


def finish(findings):
    """Prints the findings, one per line as file:line: text, and exits accordingly."""
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)
