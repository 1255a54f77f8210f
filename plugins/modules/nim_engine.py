#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_engine
short_description: Pack an engine that NIM built and cached, or unpack one that was built on another host
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - NIM 1.x builds an engine for fine-tuned weights, which takes minutes, and caches it under C(NIM_CUSTOM_MODEL_NAME).
    With this module the engine can be brought to other hosts.
  - An engine works only with the GPU model, the image, the weights and the settings it was built for. This module does
    not ask about them. The engine's name must stand for all of them, as the name that this collection gives does.
  - In the cache it acts with the rights of the user who owns the cache.
attributes:
  check_mode:
    support: full
    description: Makes all checks, and tells whether anything would be written.
  diff_mode:
    support: none
    description: What it writes is not for reading.
  idempotent:
    support: full
    description: An archive that holds the engine as it is, and an engine that is there, are left as they are.
options:
  state:
    description:
      - V(packed) writes the engine to O(archive), a tar of names and contents. Its mode is 0600 and it
        belongs to the user who logged in (by C(SUDO_UID), else the effective user), so that M(ansible.builtin.fetch)
        can take it without becoming another user, and thus without loading it into memory.
      - V(unpacked) has the engine in the cache, complete or not at all. An engine that is there is kept, and O(archive)
        is not looked at.
    type: str
    choices: [packed, unpacked]
    required: true
  name:
    description: The engine's name, the value of C(NIM_CUSTOM_MODEL_NAME).
    type: str
    required: true
  cache:
    description: The absolute path of the NIM cache on the host, which must be there. Engines lie in its C(local_cache).
    type: path
    required: true
  archive:
    description: The absolute path of the tar on the host. Its directory must be there.
    type: path
    required: true
  sha256:
    description: What the archive's sha256 must be (64 hex digits). Required with O(state=unpacked).
    type: str
  reserve_bytes:
    description: The free space in bytes that must be left on the disk that is written to.
    type: int
    default: 1073741824
seealso:
  - plugin: llmops.nim.engines_to_carry
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Pack the engine
  llmops.nim.nim_engine:
    state: packed
    name: capitals-0a1b2c3d4e5f
    cache: /var/lib/nim/capitals/cache
    archive: /var/lib/nim/capitals/capitals-0a1b2c3d4e5f.tar
  register: packed

- name: Unpack it on another host, where it was copied to
  llmops.nim.nim_engine:
    state: unpacked
    name: capitals-0a1b2c3d4e5f
    cache: /var/lib/nim/capitals/cache
    archive: /var/lib/nim/capitals/capitals-0a1b2c3d4e5f.tar
    sha256: "{{ packed.sha256 }}"
"""

RETURN = r"""
engine:
  description: The absolute path of the engine's directory.
  type: str
  returned: success
  sample: /var/lib/nim/capitals/cache/local_cache/capitals-0a1b2c3d4e5f
sha256:
  description: The sha256 of the archive (64 hex digits); in check mode, of the archive that would be written.
  type: str
  returned: when O(state=packed)
bytes:
  description: The size of the archive in bytes; in check mode, of the archive that would be written.
  type: int
  returned: when O(state=packed)
problem:
  description: What stands in the way.
  type: dict
  returned: failure
  contains:
    code:
      description:
        - A stable word for programs, one of V(engine_missing), V(engine_changing), V(engine_refused),
          V(engine_incomplete), V(engine_name_invalid), V(cache_missing), V(archive_missing), V(archive_altered),
          V(archive_invalid), V(archive_refused), V(disk_too_small), V(not_permitted) and V(not_carried).
      type: str
      sample: engine_missing
    what:
      description: What is wrong.
      type: str
    evidence:
      description: What was seen.
      type: str
    remedy:
      description: What to do.
      type: str
    source:
      description: Where the rule comes from.
      type: str
"""

import contextlib
import errno
import os
import stat

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _engine_archive, _engines, _files
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["packed", "unpacked"], "required": True},
    "name": {"type": "str", "required": True},
    "cache": {"type": "path", "required": True},
    "archive": {"type": "path", "required": True},
    "sha256": {"type": "str"},
    "reserve_bytes": {"type": "int", "default": 1024**3},
}


def packed(params, check_mode):
    """Have the archive; what the module returns (dict)."""
    named, path, there = (params["cache"], params["name"]), params["archive"], None
    engine = _engines.find(*named)
    if os.path.lexists(path):
        with _opened(path) as stream:
            there = _engine_archive.digest(stream)
    wanted = _engine_archive.pack(*named) if there or check_mode else None
    changed = there is None or there != wanted
    if changed and not check_mode:
        wanted = _write(path, *named, params["reserve_bytes"])
    elif there and not changed:
        changed = _belongs(path, check_mode)
    if not check_mode:
        _files.admit_reader(os.path.dirname(path))
    return {"changed": changed, "engine": engine, **wanted._asdict()}


def _write(path, cache, name, reserve):
    partial = path + ".partial"
    with contextlib.suppress(FileNotFoundError):  # left by a run that was killed
        os.remove(partial)
    try:
        with open(partial, "xb", opener=_private) as stream:
            written = _engine_archive.pack(cache, name, stream, reserve)
            os.fchown(stream.fileno(), *_files.reader())
        os.rename(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
        raise
    return written


def _private(path, flags):
    return os.open(path, flags, 0o600)


def _belongs(path, check_mode):
    """Have the archive's mode and owner as they should be; whether they were not."""
    found, (user, group) = os.stat(path), _files.reader()
    if stat.S_IMODE(found.st_mode) == 0o600 and found.st_uid == user:
        return False
    if not check_mode:
        os.chown(path, user, group)
        os.chmod(path, 0o600)
    return True


def unpacked(params, check_mode):
    """Have the engine; what the module returns (dict)."""
    cache, name = params["cache"], params["name"]
    engine = _engines.place(cache, name)
    changed = not _engines.is_there(cache, name)
    if changed:
        with _opened(params["archive"]) as stream:
            members = _engine_archive.check(cache, name, stream, params["sha256"], params["reserve_bytes"])
            if not check_mode:
                changed = _engine_archive.unpack(cache, name, stream, members)
    return {"changed": changed, "engine": engine}


@contextlib.contextmanager
def _opened(path):
    """The archive, opened: a file, not a link to one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            raise
        raise _no_archive(path, error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_archive(path, "not a file")
    with open(path, "rb", opener=lambda _path, _flags: descriptor) as stream:
        yield stream


def _no_archive(path, evidence):
    return Problem("There is no archive.", f"{path}: {evidence}", "Copy it to the host first.", "archive_missing")


def _of(error):
    """The Problem that an OSError is."""
    what, remedy, code = {
        errno.EACCES: ("This user may not do that.", "Become root.", "not_permitted"),
        errno.EPERM: ("This user may not do that.", "Become root.", "not_permitted"),
        errno.ENOSPC: ("The disk is full.", "Free space, then run again.", "disk_too_small"),
    }.get(error.errno, ("The engine could not be carried.", "Let the server build the engine itself.", "not_carried"))
    return Problem(what, str(error), remedy, code)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, required_if=[("state", "unpacked", ["sha256"])], supports_check_mode=True
    )
    act = packed if module.params["state"] == "packed" else unpacked
    try:
        result = act(module.params, module.check_mode)
    except (Problem, OSError) as error:
        problem = _of(error) if isinstance(error, OSError) else error
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
