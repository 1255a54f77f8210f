# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_verify, as its module documents it. An action for the same reason as nim_completion."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.llmops.nim.plugins.module_utils._answers import median_ttft
from ansible_collections.llmops.nim.plugins.module_utils._completion import ARGUMENTS as ONE
from ansible_collections.llmops.nim.plugins.module_utils._completion import openai, verify
from ansible_collections.llmops.nim.plugins.module_utils._problem import report
from ansible_collections.llmops.nim.plugins.plugin_utils._on_control_node import options, told

ARGUMENTS = {
    "endpoints": {"type": "list", "elements": "dict", "required": True},
    "api_key": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "parallel": {"type": "int", "default": 32},
}
ENDPOINT = dict(
    {name: ONE[name] for name in ("base_url", "model", "api", "checks", "timeout")},
    host={"type": "str", "default": ""},
    gateway={"type": "bool", "default": False},
)


def wishes(params):
    """The endpoints as nim_completion takes them, each with its host (list of dict); what is wrong with them (str)."""
    validated = [ArgumentSpecValidator(ENDPOINT).validate(one) for one in params["endpoints"]]
    wrong = [f"endpoints[{place}]: {message}" for place, one in enumerate(validated) for message in one.error_messages]
    single = {name: option.get("default") for name, option in ONE.items()}
    return [_wish(dict(single, **one.validated_parameters), params) for one in validated], "; ".join(wrong)


def _wish(one, params):
    return dict(one, api_key=params["api_key"], ca_path=params["ca_path"]) if one["gateway"] else one


def judged(wish, dry):
    """What came of one endpoint (dict of the RETURN block's results); dry: whether to ask nothing (bool)."""
    answers, found = verify(wish, dry)
    msg = report(found) if found else ""
    return {
        "host": wish["host"],
        "base_url": wish["base_url"],
        "answers": answers,
        "ttft_seconds": median_ttft(answers),
        "problems": [one.as_dict() for one in found],
        "msg": f"{wish['host']}: {msg}" if msg and wish["host"] else msg,
    }


class ActionModule(ActionBase):
    """Asks from the control node; no host is reached."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if openai is None:
            raise AnsibleActionFail(missing_required_lib("openai"))
        params = options(ARGUMENTS, self._task.args)
        asked, wrong = wishes(params)
        if wrong:
            return {"failed": True, "msg": wrong, "results": []}
        with ThreadPoolExecutor(max(params["parallel"], 1)) as pool:
            results = list(pool.map(lambda wish: judged(wish, self._task.check_mode), asked))
        found = "\n".join(one["msg"] for one in results if one["msg"])
        outcome = {"failed": True, "msg": found} if found else {}
        return told(dict(outcome, changed=False, results=results), ARGUMENTS, params)
