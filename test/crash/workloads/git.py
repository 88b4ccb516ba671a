"""git on the export: a repository, two commits of many files, gc, fsck, and all of it read again."""
import os

from .workload import check, command, drop_caches, make_tree, repeat

FILES = 100  # times the scale
ENVIRONMENT = {"HOME": "/tmp", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@a",
               "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@a"}


def main(options):
    os.environ.update(ENVIRONMENT)

    def one_round(random, number):
        tree = f"tree{number}"

        def git(*words):
            return command(options, "git", "-C", tree, *words)

        def commit(files, message):
            make_tree(options, tree, random, files)
            git("add", "-A")
            git("commit", "-q", "-m", message)

        command(options, "git", "-c", "init.defaultBranch=main", "init", "-q", tree)
        git("config", "gc.auto", "0")
        commit(FILES * options.scale, "first")
        differs = git("status", "--porcelain")
        check(not differs, f"git status right after the commit:\n{differs[:1000]}")
        commit(FILES * options.scale // 10, "second")
        git("gc", "-q")
        drop_caches()
        found = [line for line in git("fsck", "--full", "--strict").splitlines()
                 if not line.startswith(("notice", "Checking"))]
        check(not found, f"git fsck: {found[:10]}")
        check(git("rev-list", "--count", "HEAD").strip() == "2", "a commit is missing")
        differs = git("diff", "--stat", "HEAD")
        check(not differs, f"the tree differs from what was committed:\n{differs[:1000]}")
        command(options, "rm", "-rf", tree)
        check(not os.path.lexists(tree), f"{tree} is still there")

    rounds = repeat(options, one_round)
    return f"{rounds} repositories of {FILES * options.scale} files"
