# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether an image is signed by a key that the operator trusts, as cosign judges it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _registry_login
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._secrets import masked

_SHOWN = 1000


def check(run, cosign, pinned, key, login):
    """Raises Problem unless the image (pinned: str, by digest) is signed by the private half of key.

    run: C(AnsibleModule.run_command). cosign: path of its command, or None. key: what C(cosign verify --key) takes.
    login: registry host, user and password (None for none), which cosign finds where Docker would.
    """
    if not cosign:
        raise Problem(
            "Signatures of images are to be checked, and there is no cosign.",
            f"signature_key: {key}; no command cosign on the PATH",
            "Install cosign where registries are asked (the control node, or nim_resolver), or leave "
            "ngc_signature_key out.",
            "cosign_missing",
        )
    with _registry_login.configuration(*login) as directory:
        rc, _out, err = run([cosign, "verify", "--key", key, pinned], environ_update={"DOCKER_CONFIG": directory})
    if rc:
        raise Problem(
            f"{pinned} is not signed by the key that is trusted.",
            f"cosign verify --key {key}: {masked(err.strip())[-_SHOWN:]}",
            "Take an image that is signed by it. If the key is another by now, give the new one as ngc_signature_key.",
            "image_unsigned",
        )
