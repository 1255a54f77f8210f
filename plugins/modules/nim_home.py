#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_home
short_description: Have the directories of models on a host, and the file with the key of their containers
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Makes O(home), mode 0750, and beneath it for each model its directory, mode 0750, its C(cache), mode 0770 and owned
    by the uid that its containers run as, and C(secrets.env), mode 0600, which containers read when they are made.
  - What is closed at the top is closed below, whatever modes an image or a tool gives to what it writes there.
attributes:
  check_mode:
    support: full
    description: Says whether something would be made or changed.
  diff_mode:
    support: none
    description: The paths are in RV(paths). What is in the files is nobody's business.
  idempotent:
    support: full
    description: What is as it should be is left as it is.
options:
  models:
    description: The user id that containers run as, by the name of the model.
    type: dict
    required: true
  api_key:
    description: The NGC key for C(secrets.env). Left out, or empty, that file is empty, for a start without NGC.
    type: str
  home:
    description: The directory of all models.
    type: path
    default: /var/lib/nim
"""

EXAMPLES = r"""
- name: Prepare the directories of a model
  llmops.nim.nim_home:
    models: {openmath2-8b: 1000}
    api_key: "{{ ngc_api_key }}"
"""

RETURN = r"""
paths:
  description: The directories and files that were made or changed.
  returned: always
  type: list
  elements: str
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _disk
from ansible_collections.llmops.nim.plugins.module_utils._models import cache_dir, secrets_file
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "models": {"type": "dict", "required": True},
    "api_key": {"type": "str", "no_log": True},
    "home": {"type": "path", "default": "/var/lib/nim"},
}
ROOT = 0


def wishes(home, models):
    """What there has to be: list of (path, uid, mode), parents first. models: dict of name to uid."""
    wanted = [(home, ROOT, 0o750)]
    for name, uid in models.items():
        wanted += [
            (os.path.join(home, name), ROOT, 0o750),
            (cache_dir(name, home), uid, 0o770),
            (secrets_file(name, home), ROOT, 0o600),
        ]
    return wanted


def write(path, content):
    """Has a file of root's say content (str), never readable for others meanwhile; whether it had to be written."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        pass
    temporary = path + ".new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
    os.rename(temporary, path)
    return True


def have(module, path, uid, mode, content):
    """Has a directory, or with content (str) a file, with its owner and mode; whether anything had to be changed."""
    if module.check_mode and not os.path.lexists(path):
        return True
    changed = False
    if content is not None:
        changed = not module.check_mode and write(path, content)
    elif not os.path.isdir(path):
        os.mkdir(path, 0o700)
        changed = True
    for change, wished in (
        (module.set_owner_if_different, uid),
        (module.set_group_if_different, ROOT),
        (module.set_mode_if_different, mode),
    ):
        changed = change(path, wished, changed)
    return changed


def problem_of(error):
    """The Problem of an OSError: the disk's, or that of what stands in the way."""
    try:
        return _disk.problem(error)
    except OSError:
        what = f"{error.filename} cannot be made, or not be given to whom it is for."
        remedy = "See what is there and whose it is (ls -ld, lsattr), and run with become: true."
        return Problem(what, str(error), remedy, "home_unusable")


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    key = module.params["api_key"]
    # Without one the file is empty: a start without NGC must have no key (documented), not an empty one.
    content = f"NGC_API_KEY={key}\n" if key else ""
    home = module.params["home"]
    files = {secrets_file(name, home) for name in module.params["models"]}
    try:
        paths = [
            path
            for path, uid, mode in wishes(home, module.params["models"])
            if have(module, path, uid, mode, content if path in files else None)
        ]
    except OSError as error:
        problem = problem_of(error)
        module.fail_json(msg=str(problem), problem=problem.as_dict(), paths=[])
    module.exit_json(changed=bool(paths), paths=paths)


if __name__ == "__main__":
    main()
