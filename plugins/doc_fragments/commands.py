# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options that say which commands of the host to run."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  docker:
    description: The C(docker) command, a name or a path.
    type: str
    default: docker
"""

    NVIDIA_SMI = r"""
options:
  nvidia_smi:
    description: The C(nvidia-smi) command, a name or a path.
    type: str
    default: nvidia-smi
"""
