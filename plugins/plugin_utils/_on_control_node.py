# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What actions that run on the control node share: options checked as a module's are, and secrets kept out of results.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values


def options(specification, given):
    """The options of a task (dict), as a module's argument_spec would take them; raises AnsibleActionFail."""
    validated = ArgumentSpecValidator(specification).validate(given)
    if validated.error_messages:
        wrong = "; ".join(validated.error_messages)
        raise AnsibleActionFail(remove_values(wrong, _secrets(specification, validated.validated_parameters)))
    return validated.validated_parameters


def told(result, specification, given):
    """The result (dict) without the values of options that are secret."""
    return remove_values(result, _secrets(specification, given))


def _secrets(specification, given):
    found = set()
    for name, option in specification.items():
        if option.get("no_log"):
            value = given.get(name)
            found.update(map(str, value.values() if isinstance(value, dict) else [value or ""]))
    return found - {""}
