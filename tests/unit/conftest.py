# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import contextlib

import pytest
from ansible.module_utils.common import warnings
from hypothesis import HealthCheck, settings

# How fast the machine is today is no property of the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(autouse=True)
def no_warnings_of_others():
    """Modules that are run in one process would otherwise return each other's warnings."""
    warnings._global_warnings.clear()


@pytest.fixture(autouse=True)
def as_on_a_host(monkeypatch):
    """What a test imports may have made this process a control node to Ansible: there, modules return no warnings."""
    with contextlib.suppress(ImportError):  # of 2.19 and newer
        from ansible.module_utils import _internal

        monkeypatch.setattr(_internal, "is_controller", False, raising=False)
