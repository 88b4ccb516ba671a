#!/usr/bin/env python3
"""All C++ files are as clang-format leaves them. --fix formats them."""
import subprocess
import sys

from sources import ROOT, arguments, cxx

options = arguments(__doc__, ("--fix", "format the files in place"))
mode = ["-i"] if options.fix else ["--dry-run", "-Werror"]
files = cxx()
if files:
    sys.exit(subprocess.run(["clang-format-19", *mode, *files], cwd=ROOT).returncode)
