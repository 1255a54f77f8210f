# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Engines that NIM built: who gets which from whom, where they lie, and with whose rights they are touched.

An engine is the directory <cache>/local_cache/<NIM_CUSTOM_MODEL_NAME> (observed with 1.x).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.llmops.nim.plugins.module_utils import _on_disk
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# What makes a directory an engine.
ENGINE = "trtllm_engine/*.engine"


def to_carry(hosts):
    """Which engine goes from which host to which others (dict of engine to dict of from and to).

    hosts: list of dicts with host (str), has (engines in its caches) and wants (engines of the releases to be started
    there), in the order in which they will be activated. An engine that nobody has and several want comes from the
    first that wants it: that host will have built it before the others start.
    """
    sources, lacking = {}, {}
    for one in hosts:
        for engine in one["has"]:
            sources.setdefault(engine, one["host"])
        for engine in dict.fromkeys(one["wants"]):
            if engine not in one["has"]:
                lacking.setdefault(engine, []).append(one["host"])
    carried = {}
    for engine, to in lacking.items():
        source = sources.get(engine) or to.pop(0)
        if to:
            carried[engine] = {"from": source, "to": to}
    return carried


def place(cache, name):
    """Where the engine called name lies in a cache, a path as str; a Problem when that is no name of a directory."""
    if name in ("", ".", "..") or os.sep in name or "\0" in name:
        raise Problem(
            "The engine's name is no name of a directory.",
            f"name: {name!r}",
            "Give the value of NIM_CUSTOM_MODEL_NAME.",
            "engine_name_invalid",
        )
    if not os.path.isdir(cache):
        raise Problem(
            "There is no NIM cache.", f"{cache} is no directory", "Run the role llmops.nim.ngc first.", "cache_missing"
        )
    return os.path.join(cache, "local_cache", name)


def is_there(cache, name):
    """Is there an engine called name in the cache?"""
    return name in _on_disk.engines(cache)


def find(cache, name):
    """Where the engine called name lies in the cache, a path as str; a Problem when there is none."""
    engine = place(cache, name)
    if not is_there(cache, name):
        raise Problem(
            f"There is no engine {name}.",
            f"no {ENGINE} in {engine}",
            "Start a release that builds it.",
            "engine_missing",
        )
    return engine


def need_space(disk, path, size, reserve, name):
    """Raises a Problem when size bytes don't fit on disk (os.statvfs_result of path) with reserve bytes left free."""
    free = disk.f_bavail * disk.f_frsize
    if size + reserve > free:
        raise Problem(
            f"The disk is too small for engine {name}: {_gib(size + reserve)} are needed, {_gib(free)} are free.",
            f"{_gib(size)} of engine and {_gib(reserve)} to be left free (reserve_bytes), at {path}",
            "Remove engines that are no longer used, or let the server build the engine itself.",
            "disk_too_small",
        )


def _gib(count):
    return f"{count / 1024**3:.2f} GiB"


@contextlib.contextmanager
def as_owner(cache):
    """Act with the rights of the user and group that own the cache; what is made in it is theirs.

    The container may put links into its cache, and if root followed them, they would lead out of it.
    """
    owner, user, group = os.stat(cache), os.geteuid(), os.getegid()
    umask = os.umask(0o007)  # NIM 2.x wants the group to be able to write (documented)
    try:
        if user == 0:
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
        yield
    finally:
        if user == 0:
            os.seteuid(user)
            os.setegid(group)
        os.umask(umask)
