# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options of modules that watch a container serve."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  container:
    description: Name of the container.
    type: str
    required: true
  url:
    description: The address that answers 200 when the service is ready, as seen from the host.
    type: str
    required: true
  probe:
    type: dict
    suboptions:
      model:
        description: The served name.
        type: str
        required: true
      prompt:
        description: The text to complete. Any answer that is not empty will do.
        type: str
        default: What is the capital of France?
      max_tokens:
        description: Length of the answer in tokens at most.
        type: int
        default: 8
      timeout:
        description: Seconds to wait for the answer.
        type: int
        default: 60
  log_lines:
    description: How many of the log's last lines are returned.
    type: int
    default: 25
"""
