"""A real git repository in a folder, for tests of what changed in it."""

import subprocess
from pathlib import Path

NAMES = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


class GitRepository:
    """`write` files, `commit` them, and ask `git` anything."""

    def __init__(self, top: Path):
        self.top = top
        top.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q")

    def git(self, *words):
        done = subprocess.run(["git", *NAMES, *words], cwd=self.top, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def write(self, files):
        """Name -> text; None deletes the file."""
        for name, text in files.items():
            path = self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def commit(self, files):
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")
