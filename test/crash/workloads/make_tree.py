#!/usr/bin/env python3
"""Writes files of random content, mostly small, into directories of a tree; where one is already, it is replaced."""
import argparse
import os
import random

parser = argparse.ArgumentParser()
parser.add_argument("tree")
parser.add_argument("--files", type=int, default=1000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--links", action="store_true", help="symbolic and hard links as well")
options = parser.parse_args()

chance = random.Random(options.seed)
for number in range(options.files):
    directory = os.path.join(options.tree, *(f"d{chance.randrange(8)}" for _ in range(chance.randrange(4))))
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, f"f{number}")
    size = chance.randrange(3000) if chance.random() < 0.95 else chance.randrange(200_000)
    with open(path, "wb") as file:
        file.write(chance.randbytes(size // 2).hex().encode())
    if options.links and chance.random() < 0.05:
        os.symlink(f"f{number}", path + ".symlink")
        os.link(path, path + ".link")
