"""Creates, removes, links and renames names that nobody else uses, so that each call has one right outcome: a change that
was made twice shows as EEXIST or ENOENT, one that was lost in the listing."""
import errno
import os

from .workload import Wrong, check, drop_caches, repeat

OPERATIONS = 60  # in one round, times the scale


class ModelledDirectory:
    """A directory, and what each name in it must be: "file" (with its number of links, shared), "directory", "symlink"."""

    def __init__(self, path):
        self.path = path
        self.names = {}
        os.mkdir(path)

    def at(self, name):
        return os.path.join(self.path, name)

    def some(self, random, kind):
        names = [name for name, entry in self.names.items() if entry[0] == kind]
        return random.choice(names) if names else None

    def create(self, random, fresh):
        os.close(os.open(self.at(fresh), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        self.names[fresh] = ("file", [1])

    def make_directory(self, random, fresh):
        os.mkdir(self.at(fresh))
        self.names[fresh] = ("directory", None)

    def make_symlink(self, random, fresh):
        os.symlink("to/" + fresh, self.at(fresh))
        self.names[fresh] = ("symlink", None)

    def link(self, random, fresh):
        name = self.some(random, "file")
        if name:
            os.link(self.at(name), self.at(fresh))
            self.names[fresh] = self.names[name]
            self.names[name][1][0] += 1

    def rename(self, random, fresh):
        if self.names:
            name = random.choice(list(self.names))
            os.rename(self.at(name), self.at(fresh))
            self.names[fresh] = self.names.pop(name)

    def rename_over(self, random, _):
        name, other = self.some(random, "file"), self.some(random, "file")
        if name and name != other and self.names[name] != self.names[other]:
            os.rename(self.at(name), self.at(other))
            self.names[other][1][0] -= 1
            self.names[other] = self.names.pop(name)

    def remove(self, random, _):
        if not self.names:
            return
        name = random.choice(list(self.names))
        kind, links = self.names.pop(name)
        if kind == "directory":
            os.rmdir(self.at(name))
        else:
            os.unlink(self.at(name))
        if links:
            links[0] -= 1

    def collide(self, random, _):
        """What exists cannot be created, and what does not cannot be removed."""
        if not self.names:
            return
        expect(errno.EEXIST, os.mkdir, self.at(random.choice(list(self.names))))
        expect(errno.ENOENT, os.unlink, self.at("never"))

    def compare(self):
        listed = set(os.listdir(self.path))
        check(listed == set(self.names), f"{self.path}: lists {sorted(listed - set(self.names))} too many, "
              f"{sorted(set(self.names) - listed)} too few")
        for name, (kind, links) in self.names.items():
            status = os.lstat(self.at(name))
            if kind == "file":
                check(status.st_nlink == links[0], f"{self.at(name)}: {status.st_nlink} links, not {links[0]}")
            if kind == "symlink":
                check(os.readlink(self.at(name)).startswith("to/"), f"{self.at(name)}: a wrong symlink")


def expect(number, call, path):
    try:
        call(path)
    except OSError as problem:
        check(problem.errno == number, f"{path}: {problem}, expected {errno.errorcode[number]}")
    else:
        raise Wrong(f"{call.__name__} {path}: succeeded, expected {errno.errorcode[number]}")


def main(options):
    operations = 0

    def one_round(random, number):
        nonlocal operations
        directories = [ModelledDirectory(f"round{number}-{i}") for i in range(3)]
        kinds = [ModelledDirectory.create] * 5 + [ModelledDirectory.remove] * 6 + [ModelledDirectory.rename] * 3 + [
            ModelledDirectory.make_directory, ModelledDirectory.make_directory, ModelledDirectory.make_symlink,
            ModelledDirectory.link, ModelledDirectory.link, ModelledDirectory.rename_over, ModelledDirectory.collide]
        for i in range(OPERATIONS * options.scale):
            random.choice(kinds)(random.choice(directories), random, f"n{i}")
            options.alive()
            operations += 1
            if i % 300 == 299:
                drop_caches()
                for directory in directories:
                    directory.compare()
        for directory in directories:
            directory.compare()
            while directory.names:
                directory.remove(random, "")
            os.rmdir(directory.path)

    rounds = repeat(options, one_round)
    return f"{operations} operations in {rounds} rounds"

