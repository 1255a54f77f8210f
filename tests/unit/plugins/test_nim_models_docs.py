# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is documented of nim_models is what the modules accept."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.doc_fragments.nim_models import ModuleDocFragment
from ansible_collections.llmops.nim.plugins.module_utils._models import MODELS_SPEC

yaml = pytest.importorskip("yaml")


def without_descriptions(option):
    assert option.pop("description")
    if "suboptions" in option:
        option["options"] = {name: without_descriptions(inner) for name, inner in option.pop("suboptions").items()}
    return option


def without_no_log(option):
    """What is not documented of an option: max_tokens says no_log=False, since its name looks like a secret's."""
    inner = {name: without_no_log(one) for name, one in option.get("options", {}).items()}
    bare = {key: value for key, value in option.items() if key != "no_log"}
    return dict(bare, options=inner) if inner else bare


def test_documentation_equals_the_specification():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]["models"]
    assert without_descriptions(documented) == without_no_log(MODELS_SPEC)
