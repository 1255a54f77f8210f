# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A bare clone of one commit, without its large files: its tree, its small files, and git-lfs fetching the others.

Private to the collection: breaking changes at any time.

Nothing is ever checked out, so no smudge filter, hook or C(.lfsconfig) of the repository takes effect.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import re
import signal
import subprocess

from ansible_collections.llmops.nim.plugins.module_utils import _hub, _hub_files, _lfs, _lfs_failures, _patience
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

Entry = collections.namedtuple("Entry", "path blob size")

_IDENTITY = ("-c", "user.name=llmops.nim", "-c", "user.email=nobody@localhost")


class Clone:
    """The commit (40 hex digits) of repo at endpoint, in git_dir.

    run is AnsibleModule.run_command or like it; each child process is given the descriptors in pass_fds.
    """

    def __init__(self, run, endpoint, repo, token, commit, git_dir, pass_fds=()):
        self.hub = (endpoint, repo)
        self.token, self.commit, self.git_dir = token, commit, git_dir
        self._run, self._pass_fds = run, pass_fds
        self.accepted = False  # whether the hub has let us in
        self._ref = f"refs/snapshots/{commit}"
        self.incomplete = os.path.join(git_dir, "lfs", "incomplete")  # what git-lfs has of objects so far

    def run(self, *args, config=(), **kwargs):
        """git in the clone: (rc, stdout, stderr)."""
        args = ["--git-dir", self.git_dir, *args]
        return _hub.git(self._run, *self.hub, self.token, args, config, pass_fds=self._pass_fds, **kwargs)

    def fetch(self, retries):
        """Have the commit, without its history and its large files."""
        if not os.path.exists(os.path.join(self.git_dir, "HEAD")):
            self._local("init", "-q", "--bare", self.git_dir)
        if self.run("rev-parse", "-q", "--verify", self._ref)[0] == 0:
            return
        # One pack, and then the ref: a killed fetch leaves nothing that looks complete.
        options = ["-c", "fetch.unpackLimit=1", "fetch", "-q", "--no-tags"]

        def attempt():
            rc, _out, err = self.run(*options, "--depth", "1", "origin", f"{self.commit}:{self._ref}")
            if rc and "unadvertised object" in err:  # a server that gives only what a branch or a tag leads to
                rc, _out, err = self.run(*options, "origin", "+refs/*:refs/origin/*")
                if rc == 0 and self.run("update-ref", self._ref, self.commit)[0]:
                    rc, err = 1, "not our ref: no branch and no tag leads to it"
            return _hub.explain(err, *self.hub, self.commit, self.token) if rc else None

        refs = "/info/refs?service=git-upload-pack"
        problem = _patience.persist(attempt, lambda: 0, retries, lambda: self.wait_asked(refs))
        if problem:
            raise problem
        self.accepted = True

    def wait_asked(self, address=".git/info/lfs/objects/batch"):
        """How many seconds the hub wants no requests to an address beneath the repository's own (int or None)."""
        files = _hub_files.HubFiles(*self.hub, self.commit, self.token)
        return files.wait_asked(_hub.url(*self.hub) + address)

    def asked_for(self, path, problem):
        """What the hub itself answers to who asks for the file at path over HTTP (Problem); problem, where it gives it.

        Of a download that is refused, git-lfs says no more than that there was an error.
        """
        try:
            _hub_files.HubFiles(*self.hub, self.commit, self.token).part(path, 0, 1)
        except Problem as answer:
            return answer
        return problem

    def need_lfs(self):
        """Raise a Problem unless git-lfs is installed."""
        rc, _out, err = _hub.git(self._run, *self.hub, self.token, ["lfs", "version"])
        if rc:
            if _lfs_failures.is_killed(err):
                raise _lfs_failures.killed(err, self.token)
            what = "git-lfs is not installed on this host."
            raise Problem(what, _hub.redact(err, self.token), "Install git-lfs.", "git_lfs_missing")

    def link_store(self, store):
        """Let git-lfs put objects into store, for all repositories, and incomplete ones here."""
        lfs = os.path.join(self.git_dir, "lfs")
        objects = os.path.join(store, "objects")
        for directory in (objects, lfs):
            os.makedirs(directory, mode=0o750, exist_ok=True)
        if not os.path.islink(os.path.join(lfs, "objects")):
            os.symlink(os.path.relpath(objects, lfs), os.path.join(lfs, "objects"))

    def fetch_objects(self, transfers, retries, entries, progress):
        """One run of git lfs fetch, for the pointers among entries (list of Entry): (whether it worked, its words).

        progress: from nothing to the bytes that are there; while it grows, the run may last.

        git-lfs itself repeats each transfer up to retries times, which saves the others from waiting for it.
        """
        settings = [f"lfs.storage={os.path.join(self.git_dir, 'lfs')}", "lfs.fetchrecentalways=false"]
        settings += [f"lfs.concurrenttransfers={transfers}", f"lfs.transfer.maxretries={max(1, retries)}"]
        # -I and -X, so that no setting of the user leaves files out.
        command = ["lfs", "fetch", "-I", "", "-X", "", "origin", self._commit_of(entries)]
        guard = _patience.end_when_stalled(progress)
        rc, out, err = self.run(*command, config=settings, before_communicate_callback=guard)
        if rc == -signal.SIGTERM:
            err += f"\nno byte came for {_patience.STALLED} s: timed out"
        return rc == 0, out + err

    def _commit_of(self, entries):
        """A commit (40 hex digits) that holds these entries alone.

        Patterns of git-lfs could not say it: a name may have commas, and is looked for in all directories.
        """
        listing = "".join(f"100644 {entry.blob}\t{entry.path}\0" for entry in entries)
        with self._index():
            self._local("update-index", "-z", "--index-info", data=listing, binary_data=True)
            tree = self._local("write-tree").strip()
        return self._local(*_IDENTITY, "commit-tree", "-m", "", tree).strip()

    @contextlib.contextmanager
    def _index(self):
        """An index for git to work with, empty; it is gone afterwards."""
        try:
            self._local("read-tree", "--empty")
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(self.git_dir, "index"))

    def tree(self):
        """The files (list of Entry) of the commit, and the problems (list of Problem) with them."""
        return parse_tree(self._local("ls-tree", "-r", "-l", "-z", "--full-tree", self.commit, encoding=None))

    def survey(self, entries, texts):
        """Read each blob once: the files (list of dict, as in the manifest), contents (path -> bytes), and pointers
        (path -> Pointer).

        Contents has the paths in texts whole, and the first 64 bytes of other files that are no pointers.
        """
        files, contents, pointers = [], {}, {}
        with Blobs(self.git_dir) as blobs:
            for entry in entries:
                digest, content = hashlib.sha256(), b""
                for block in blobs.blocks(entry):
                    digest.update(block)
                    content = content + block if entry.path in texts else content or block
                pointer = _lfs.parse_pointer(content)
                size, sha256 = (pointer.size, pointer.oid) if pointer else (entry.size, digest.hexdigest())
                files.append({"path": entry.path, "size": size, "sha256": sha256, "lfs": pointer is not None})
                if pointer:
                    pointers[entry.path] = pointer
                else:
                    contents[entry.path] = content if entry.path in texts else content[:64]
        return files, contents, pointers

    def untracked(self, paths):
        """Those of paths that .gitattributes does not hand to git-lfs."""
        if not paths:
            return []
        with self._index():  # reading attributes of a commit wants one in any git before 2.40
            self._local("read-tree", self.commit)
            words = self._local("check-attr", "--cached", "--stdin", "-z", "filter", data="\0".join(paths) + "\0")
        fields = words.split("\0")
        return [path for path, value in zip(fields[0::3], fields[2::3]) if value != "lfs"]

    def _local(self, *args, **kwargs):
        """The output of git where it has no reason to fail."""
        rc, out, err = self.run(*args, **kwargs)
        if rc:
            text = err.decode("utf-8", "replace") if isinstance(err, bytes) else err
            what = f"git {args[0]} failed in {self.git_dir}."
            raise Problem(what, _hub.redact(text, self.token), "Remove that directory, then run again.", "clone_broken")
        return out


class Blobs:
    """The blobs of a repository, through one C(git cat-file --batch)."""

    def __init__(self, git_dir):
        self._process = subprocess.Popen(
            ["git", "--git-dir", git_dir, "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_hub.clean_environment(),
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def blocks(self, entry):
        """The content of entry (Entry) in blocks of bytes; read it to its end before asking for the next."""
        self._process.stdin.write(entry.blob.encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 3 or int(answer[2]) != entry.size:
            raise Problem(
                f"{entry.path} cannot be read from the clone.",
                b" ".join(answer).decode("ascii", "replace"),
                "Remove the clone (the directory git beside the snapshots), then run again.",
                "clone_broken",
            )
        left = entry.size
        while left:
            block = self._process.stdout.read(min(left, 1024 * 1024))
            left -= len(block)
            if not block:
                raise Problem(f"{entry.path} ended early in the clone.", "", "Run again.", "clone_broken")
            yield block
        self._process.stdout.read(1)


def parse_tree(listing):
    """The files (list of Entry) in the output of C(git ls-tree -r -l -z) (bytes), and the problems with them."""
    entries, problems = [], []
    for line in listing.split(b"\0"):
        if not line:
            continue
        head, _tab, raw = line.partition(b"\t")
        mode, _kind, blob, size = head.decode("ascii").split()
        shown = ascii(raw.decode("utf-8", "backslashreplace"))
        reason = _refused(mode, raw)
        if reason:
            problems.append(
                Problem(
                    f"The repository has {reason}: {shown}.",
                    f"mode {mode} in the tree",
                    "Publish the repository with plain files of plain names only.",
                    "unsafe_path",
                )
            )
        else:
            entries.append(Entry(raw.decode("utf-8"), blob, int(size)))
    return entries, problems


def _refused(mode, raw):
    if mode == "120000":
        return "a symbolic link"
    if mode == "160000":
        return "a submodule"
    return path_fault(raw)


def path_fault(raw):
    """What a file of that path (bytes) must not be in a snapshot for, as in "has ...": str, empty for a good one."""
    if any(part in (b"", b".", b"..") or part.lower() == b".git" for part in raw.split(b"/")):
        return "a path that leads out of its directory"
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "a file name that is not UTF-8"
    # Backslashes and line breaks are also what sha256sum would escape, see _snapshot.digest().
    return "a file name with control characters or backslashes" if re.search(r"[\x00-\x1f\x7f\\]", name) else ""
