#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_image
short_description: Have images on a host, by a login that lasts as long as the pull
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Pulls the images that are not on the host yet.
  - The login lies in a Docker configuration of its own beneath C(/run), which is memory, mode 0700, and is removed with
    the end of the pull. The configuration of the user is neither read nor written.
extends_documentation_fragment:
  - llmops.nim.transfer
  - llmops.nim.transfer.begins
attributes:
  check_mode:
    support: full
    description: Says whether something would be pulled.
  diff_mode:
    support: none
    description: Which images are missing is in RV(pulled).
  idempotent:
    support: full
    description: An image that is on the host is not asked for again.
options:
  images:
    description: References by digest. One by tag is pulled only where the host has no image of that tag.
    type: list
    elements: str
    required: true
  registry:
    description: The registry host that O(api_key) belongs to. The key is sent to no other.
    type: str
    default: nvcr.io
  username:
    description: The user name of the registry login. NGC wants the literal text V($oauthtoken).
    type: str
    default: $oauthtoken
  api_key:
    description: The NGC key. Left out, or empty, the registry is asked anonymously.
    type: str
  known:
    description:
      - What M(llmops.nim.nim_image_info) has returned as C(images). By the sizes of layers in it
        M(llmops.nim.nim_transfers) tells how much is to come.
    type: dict
    default: {}
  docker:
    description: The docker command.
    type: str
    default: docker
seealso:
  - module: llmops.nim.nim_transfers
"""

EXAMPLES = r"""
- name: Pull the image by its digest
  llmops.nim.nim_image:
    images: ["{{ ngc_images.images['nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4'].pinned }}"]
    api_key: "{{ ngc_api_key }}"
"""

RETURN = r"""
pulled:
  description: The images that were missing. Without O(wait) they are on their way.
  returned: success
  type: list
  elements: str
transfer:
  description: The name by which M(llmops.nim.nim_transfers) waits for them.
  returned: where they are on their way, without O(wait)
  type: str
  sample: images-6b86b273ff34
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import contextlib
import hashlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _progress, _pull, _registry_login, _transfers
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain, told_of
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._secrets import masked

ARGUMENTS = {
    "images": {"type": "list", "elements": "str", "required": True},
    "registry": {"type": "str", "default": "nvcr.io"},
    "username": {"type": "str", "default": "$oauthtoken"},
    "api_key": {"type": "str", "no_log": True},
    "known": {"type": "dict", "default": {}},
    "docker": {"type": "str", "default": "docker"},
    **_transfers.BEGINS,
}
WHAT = "The image could not be pulled"


def missing(module, docker):
    """Those of the images (list of str) that are not on the host."""
    wanted = list(dict.fromkeys(module.params["images"]))
    return [image for image in wanted if module.run_command([docker, "image", "inspect", "--", image])[0]]


def pull(module, docker, images, progress=None):
    """Pull the images (list of str); raises Problem. progress: where to tell how far it is (path), or None."""
    login = [module.params[key] for key in ("registry", "username", "api_key")]
    sizes = {one["pinned"]: one.get("layers", {}) for one in module.params["known"].values()}
    pulls = [(image, _pull.Layers(sizes.get(image, {}))) for image in images]
    with _registry_login.configuration(*login) as directory, told(pulls, progress) as turn:
        for image, layers in pulls:

            def hear(text, layers=layers):
                layers.read(text)
                turn(_progress.UNPACKING if layers.unpacking else _progress.FETCHING)

            status, said = _pull.watched([docker, "--config", directory, "pull", "--", image], hear)
            if status:
                raise not_pulled(image, masked(said.strip()))


@contextlib.contextmanager
def told(pulls, progress):
    """Meanwhile tell at progress (path, or None) how far pulls (list of (image, Layers)) are; how to say a phase."""
    if not progress:
        yield lambda phase: None
        return

    def measure():
        totals = [layers.total for _image, layers in pulls]
        return sum(layers.bytes for _image, layers in pulls), None if None in totals else sum(totals)

    with _progress.Progress(progress, {}, measure) as kept:
        yield kept.turn


def begun(module, docker, images):
    """Have the images (list of str) pulled by a process that nobody waits for: (whether it was begun, its name)."""
    # By all that are wanted, since what is missing changes while they come.
    name = "images-" + hashlib.sha256(" ".join(sorted(set(module.params["images"]))).encode()).hexdigest()[:12]

    def work():
        try:
            pull(module, docker, images, progress)
        except Problem as problem:
            return [problem.as_dict()], []
        return [], []

    place = module.params["transfers_dir"]
    progress = _transfers.progress_path(place, name)
    return _transfers.begin(place, name, "image " + ", ".join(images), work, progress), name


def not_pulled(image, said):
    """The Problem of a pull of image that failed with these words (str)."""
    causes = explain(said)
    if causes:
        return told_of(WHAT, causes, said, causes[0].problem.code)
    return Problem(f"{WHAT}.", f"docker pull {image}: {said}", "Mend what the last line names.", "pull_failed")


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    docker = module.get_bin_path(module.params["docker"], required=True)
    images = missing(module, docker)
    if images and not module.check_mode and not module.params["wait"]:
        changed, name = begun(module, docker, images)
        module.exit_json(changed=changed, pulled=images, transfer=name)
    try:
        if images and not module.check_mode:
            pull(module, docker, images)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    module.exit_json(changed=bool(images), pulled=images)


if __name__ == "__main__":
    main()
