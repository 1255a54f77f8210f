#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_gateway
short_description: Give a host's release traffic at the gateway, or take a host out without cutting an answer
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Runs on a gateway and talks to the HAProxy that the role C(gateway) has set up, over its runtime API. It reloads
    nothing.
  - Each host of a model has two slots there, C(a) and C(b), one for the release that serves and one for the next.
  - What is changed is also written to the file that HAProxy reads its servers' states from when it starts, so that it
    outlives a reload and a restart.
  - Requests that still run through a process from before a reload are waited for as well.
extends_documentation_fragment:
  - llmops.nim.progress
attributes:
  check_mode:
    support: full
    description: Says what would change, and waits for nothing.
  diff_mode:
    support: none
    description: The states are in RV(servers).
  idempotent:
    support: full
    description: A host that is as wished is left as it is.
options:
  state:
    description:
      - V(admitted) waits until a check of O(slot) has passed, gives it new requests, then drains the host's other slot
        as V(drained) does. The slot gets no request before that check.
      - V(drained) gives the host no new requests, waits until those that run have ended or O(drain_timeout) is over,
        and ends the checks. Nothing that runs is cut by the gateway.
      - V(saved) writes O(state_file) only, as soon as each server has been checked once, with the servers of O(config)
        that HAProxy does not know yet as down. It also does so where HAProxy does not run.
      - V(read) changes nothing.
    type: str
    choices: [admitted, drained, saved, read]
    default: read
  model:
    description: Name of the model. With O(state=read), all models by default.
    type: str
  host:
    description: The host, by its name in the inventory. With O(state=read), all hosts by default.
    type: str
  slot:
    description: The slot to admit.
    type: str
    choices: [a, b]
  drain_timeout:
    description: Seconds to wait for running requests. The longest answers should fit into it.
    type: float
    default: 600
  up_timeout:
    description: Seconds to wait until a check has passed, or with O(state=saved), has ended.
    type: float
    default: 60
  files:
    description:
      - With O(state=read), the files that HAProxy reads when it starts, each with the sha256 that it should have. Those
        that HAProxy has not read as they should be are in RV(outdated).
    type: dict
    default: {}
  replaced:
    description:
      - With O(state=saved), the RV(pid) of before a reload. The module waits until another process answers, at most
        O(up_timeout), since a service manager may call a reload done before it is.
    type: int
  socket:
    description: HAProxy's socket, with the level admin.
    type: path
    default: /run/haproxy/nim.sock
  state_file:
    description: The file that HAProxy reads its servers' states from when it starts.
    type: path
    default: /var/lib/haproxy/nim.state
  config:
    description: HAProxy's configuration, read with O(state=saved).
    type: path
    default: /etc/haproxy/haproxy.cfg
"""

EXAMPLES = r"""
- name: Take the host out at every gateway
  llmops.nim.nim_gateway:
    state: drained
    model: openmath2-8b
    host: "{{ inventory_hostname }}"
  delegate_to: "{{ item }}"
  loop: "{{ groups['nim_gateways'] }}"

- name: Send new requests to the new release, and wait for the old one's answers
  llmops.nim.nim_gateway:
    state: admitted
    model: openmath2-8b
    host: gpu1
    slot: b
    drain_timeout: 900
  delegate_to: gateway1
  register: admitted

- name: Read who serves, and whether the configuration is the wished one
  llmops.nim.nim_gateway:
    files:
      /etc/haproxy/haproxy.cfg: "{{ wished | hash('sha256') }}"
  delegate_to: gateway1
"""

RETURN = r"""
servers:
  description:
    - The servers in question after the change, in check mode before it.
    - C(state) is V(ready), V(drain) (no new requests) or V(maint) (out, and not checked).
    - C(up) is whether HAProxy takes it for alive; C(check) is the result of the last check; C(sessions) is how many
      requests run, older processes included.
  returned: success, but not with O(state=saved)
  type: list
  elements: dict
  sample:
    - {backend: nim_openmath2-8b, name: gpu1_a, address: "10.0.0.1:8000", state: ready, up: true,
       check: L7OK 200 Layer7 check passed, sessions: 3}
serving:
  description: How many servers of the model get new requests, on this gateway. Zero means that the model is down here.
  returned: success, with O(model)
  type: int
outdated:
  description: The names in O(files) that are missing, differ, or were written after the process that answers began.
  returned: success, with O(state=read)
  type: list
  elements: str
waited_seconds:
  description: How long the module waited, for the check and for running requests.
  returned: success
  type: float
cut:
  description: How many requests still ran when O(drain_timeout) was over. They end when their release is stopped.
  returned: success
  type: int
pid:
  description: The id of the process of HAProxy that answers, null where none runs.
  returned: success, with O(state=saved)
  type: int
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _aside
from ansible_collections.llmops.nim.plugins.module_utils._haproxy import SLOTS
from ansible_collections.llmops.nim.plugins.module_utils._haproxy_gateway import Gateway
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["admitted", "drained", "saved", "read"], "default": "read"},
    "model": {"type": "str"},
    "host": {"type": "str"},
    "slot": {"type": "str", "choices": list(SLOTS)},
    "drain_timeout": {"type": "float", "default": 600},
    "up_timeout": {"type": "float", "default": 60},
    "files": {"type": "dict", "default": {}},
    "replaced": {"type": "int"},
    "socket": {"type": "path", "default": "/run/haproxy/nim.sock"},
    "state_file": {"type": "path", "default": "/var/lib/haproxy/nim.state"},
    "config": {"type": "path", "default": "/etc/haproxy/haproxy.cfg"},
    **_aside.ARGUMENT_SPEC,
}


def run(module, aside):
    """The module's result, dict; aside: who is told how far it is (Aside)."""
    wanted = module.params["state"]
    gateway = Gateway(module.params, aside)
    begin = time.monotonic()
    if wanted == "saved":
        if not module.check_mode:
            gateway.save_all()
        waited = round(time.monotonic() - begin, 1)
        return {"changed": gateway.changed, "waited_seconds": waited, "cut": 0, "pid": gateway.pid()}
    if wanted == "read":
        return dict(gateway.report(), outdated=gateway.outdated(), changed=False, waited_seconds=0.0, cut=0)
    if module.check_mode:
        gateway.changed = gateway.foreseen()
    elif wanted == "admitted":
        gateway.run(Gateway.admit)
    else:
        gateway.run(Gateway.drain_host)
    waited = round(time.monotonic() - begin, 1)
    return dict(gateway.report(), changed=gateway.changed, waited_seconds=waited, cut=gateway.cut)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "admitted", ("model", "host", "slot")), ("state", "drained", ("model", "host"))],
        supports_check_mode=True,
    )
    try:
        with _aside.Aside(module.params["progress_file"]) as aside:
            result = run(module, aside)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
