# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is a secret by its name or looks like one, and is not to be shown.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

# Keys as NGC and the hub issue them, logins in addresses, and what follows Bearer.
_SECRET = re.compile(r"\b(?:nvapi-[\w-]{8,}|hf_\w{8,})|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)|(?<=\bBearer )[\w.~+/-]{8,}=*")

_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)
# Keys of nim_models with variables for the container.
_VARIABLES = ("env", "unchecked_env")


def secret_values(variables):
    """The values (set of str) of variables (dict) whose names say that they are secret."""
    return {str(value) for name, value in variables.items() if _NAME.search(str(name)) and len(str(value)) >= 4}


def only_secrets(no_log_values, models):
    """Take from no_log_values (set, of AnsibleModule) what no name calls a secret in the models' variables.

    All are kept out of the system's log; but a value such as "1" must not be masked in all that is returned.
    """
    for variables in (model[key] for model in models for key in _VARIABLES):
        no_log_values.difference_update(set(map(str, variables.values())) - secret_values(variables))


def restored(models, wished):
    """The models as a module returned them (list of dict), with the variables that the inventory wishes for.

    What a module returns has stars in the place of secrets. wished: C(nim_models), in the same order; empty: unknown.
    """
    if len(wished) != len(models):
        return models
    return [
        dict(model, **{key: wish[key] for key in _VARIABLES if isinstance(wish.get(key), dict)})
        for model, wish in zip(models, wished)
    ]


def masked(text):
    """The text (str) with what looks like a secret replaced by stars."""
    return _SECRET.sub("********", text)
