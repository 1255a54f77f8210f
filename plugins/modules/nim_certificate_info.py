#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_certificate_info
short_description: Read whether a certificate and its key can serve
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads a PEM file with a certificate (first the server's own) and its private key, and fails when the two do not
    belong together, the certificate is not valid now, or the key is encrypted.
requirements:
  - openssl, the command, where the module runs
extends_documentation_fragment:
  - llmops.nim.reads_only
options:
  path:
    description: The PEM file.
    type: path
    required: true
  warn_days:
    description: Warn of a certificate that expires in fewer days than these.
    type: int
    default: 14
"""

EXAMPLES = r"""
- name: Read the gateway's certificate
  llmops.nim.nim_certificate_info:
    path: files/gateway.pem
  delegate_to: localhost
  become: false
"""

RETURN = r"""
subject:
  description: Whom the certificate is made out to, as openssl prints it.
  returned: success
  type: str
expires:
  description: When it expires, in UTC.
  returned: success
  type: str
  sample: "2027-11-22T16:31:00Z"
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _certificate
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def main():
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "warn_days": {"type": "int", "default": 14}},
        supports_check_mode=True,
    )
    try:
        found = _certificate.read(module.params["path"])
        days = _certificate.judge(found, datetime.now(timezone.utc))
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    if days < module.params["warn_days"]:
        module.warn(f"The certificate in {module.params['path']} expires in {days:.1f} days, at {found.expires}")
    module.exit_json(changed=False, subject=found.subject, expires=found.expires.strftime("%Y-%m-%dT%H:%M:%SZ"))


if __name__ == "__main__":
    main()
