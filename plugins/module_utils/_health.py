# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a NIM says of itself that it is ready.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import urllib.error
import urllib.request


def url(port, address):
    """The health address of a NIM that is published on port (int) of address (str), as seen from its host."""
    return f"http://{'127.0.0.1' if address == '0.0.0.0' else address}:{port}/v1/health/ready"


def is_ready(address, timeout=5):
    """Whether the address (str) answers 200 within timeout seconds.

    Only the status counts: the wording of the answer differs between versions (observed: five).
    """
    # The service is on this host: a proxy meant for the outside is not asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=timeout) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
