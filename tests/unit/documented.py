# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a module's documentation says, with what it shares with others."""

from __future__ import annotations

import importlib

import yaml

FRAGMENTS = "ansible_collections.llmops.nim.plugins.doc_fragments."


def options(module):
    """The documented options (dict) of a module (an imported one)."""
    documentation = yaml.safe_load(module.DOCUMENTATION)
    parts = [_fragment(name) for name in documentation.get("extends_documentation_fragment", ())] + [documentation]
    found = {}
    for part in parts:
        for name, option in (part.get("options") or {}).items():
            # A module may say in other words what an option means to it.
            found[name] = dict(found.get(name, {}), **option)
    return found


def _fragment(name):
    file, _dot, variable = name.partition("llmops.nim.")[2].partition(".")
    fragment = importlib.import_module(FRAGMENTS + file).ModuleDocFragment
    return yaml.safe_load(getattr(fragment, variable.upper() or "DOCUMENTATION"))
