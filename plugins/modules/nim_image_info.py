#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_image_info
short_description: Ask the registry which NIM an image reference means
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Resolves image references to digests and reads the NIM version from the image's labels, without pulling anything
    and without a login on the host.
  - Tells a registry that is down from a key that is refused, and both from an image that does not exist.
extends_documentation_fragment:
  - llmops.nim.reads_only
options:
  images:
    description: Image references, each with registry, repository and a tag or digest.
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
    description: The NGC key. Left out, the registry is asked anonymously.
    type: str
  signature_key:
    description:
      - A public key, as C(cosign verify --key) takes it (a file, or the address of a key service). Every image must be
        signed by it, which cosign judges where the module runs. Left out, or empty, no signature is asked for.
      - Whether NGC's images are signed so is not verified; what is proven of them in any case is the digest.
    type: str
  timeout:
    description: Seconds to wait for each answer of the registry.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Ask which NIM the tag means today
  llmops.nim.nim_image_info:
    images: [nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4]
    api_key: "{{ ngc_api_key }}"
  register: found
"""

RETURN = r"""
images:
  description: What each reference of O(images) means, by reference.
  returned: success
  type: dict
  sample:
    nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4:
      reference: nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4
      pinned: nvcr.io/nim/meta/llama-3.2-1b-instruct@sha256:6a3c9f3b4a3d...
      digest: sha256:6a3c9f3b4a3d...
      bytes: 13421772800
      layers: {6a3c9f3b4a3d: 13421772800}
      nim_version: 1.8.4
      nim_model: meta/llama-3.2-1b-instruct
      signed: false
problems:
  description: Everything that stands in the way, each with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: list
  elements: dict
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _image_signature
from ansible_collections.llmops.nim.plugins.module_utils._contract import nim_version
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report
from ansible_collections.llmops.nim.plugins.module_utils._registry import Reference, Registry

MODEL_LABEL = "com.nvidia.nim.model"


def describe(image, signed):
    """The registry's answer (dict of Registry.resolve), reduced to what a deployer needs. signed: as was proven."""
    return {
        "reference": image["reference"],
        "pinned": image["pinned"],
        "digest": image["digest"],
        "bytes": image["bytes"],
        "layers": image["layers"],
        "nim_version": nim_version(image["labels"], image["env"]),
        "nim_model": image["labels"].get(MODEL_LABEL) or None,
        "signed": signed,
    }


def resolve(text, module):
    """The image that the reference text (str) means, asked for with the module's params."""
    params, reference = module.params, Reference(text)
    own = reference.registry == params["registry"]
    login = (reference.registry, params["username"] if own else None, params["api_key"] if own else None)
    image = Registry(*login, params["timeout"]).resolve(reference)
    key = params["signature_key"]
    if key:
        _image_signature.check(module.run_command, module.get_bin_path("cosign"), image["pinned"], key, login)
    return describe(image, bool(key))


def check_key(key):
    """Raises Problem for a key (str or None) that no header and no env file can carry as it is."""
    if key and not re.fullmatch(r"[!-~]+", key):
        raise Problem(
            "The NGC key has a space, a line break or another character that no key has.",
            f"{len(key)} characters, of which {len(re.findall(r'[^!-~]', key))} do not belong there",
            "copy the key whole and alone into NGC_API_KEY or ngc_api_key",
            "ngc_key_malformed",
        )


def main():
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "str", "required": True},
            "registry": {"type": "str", "default": "nvcr.io"},
            "username": {"type": "str", "default": "$oauthtoken"},
            "api_key": {"type": "str", "no_log": True},
            "signature_key": {"type": "str", "no_log": False},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    images, problems = {}, []
    for text in sorted(set(module.params["images"])):
        try:
            check_key(module.params["api_key"])
            images[text] = resolve(text, module)
        except Problem as problem:
            # A refused key is told once, however many images it was for.
            if str(problem) not in map(str, problems):
                problems.append(problem)
    if problems:
        module.fail_json(msg=report(problems), problems=[problem.as_dict() for problem in problems])
    module.exit_json(changed=False, images=images)


if __name__ == "__main__":
    main()
