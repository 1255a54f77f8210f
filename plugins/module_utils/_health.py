# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a NIM says of itself that it is ready, and whether it completes a text.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

# The option of modules that have a text completed.
PROBE_OPTION = {
    "type": "dict",
    "options": {
        "model": {"type": "str", "required": True},
        "prompt": {"type": "str", "default": "What is the capital of France?"},
        "max_tokens": {"type": "int", "default": 8, "no_log": False},
        "timeout": {"type": "int", "default": 60},
    },
}


def url(port, address):
    """The health address of a NIM that is published on port (int) of address (str), as seen from its host."""
    return f"http://{'127.0.0.1' if address == '0.0.0.0' else address}:{port}/v1/health/ready"


def _fetch(request, timeout):
    """(status, body) of an answer to an address or a urllib Request; status is None and body why when there is none."""
    # The service is on this host: a proxy meant for the outside is not asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        try:
            answer = opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.getcode(), answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return None, str(getattr(error, "reason", None) or error or type(error).__name__)


def why_not_ready(address, timeout=5):
    """Why the address (str) does not answer 200 within timeout seconds (str), or None if it does.

    Only the status counts: the wording of the answer differs between versions (observed: five).
    """
    status, body = _fetch(address, timeout)
    if status == 200:
        return None
    return body if status is None else f"HTTP {status}"


def is_ready(address, timeout=5):
    """Whether the address (str) answers 200 within timeout seconds."""
    return why_not_ready(address, timeout) is None


def why_no_completion(address, question, timeout):
    """Why a NIM does not complete a text within timeout seconds (str), or None if it does.

    address: its health address, str. question: dict(model, prompt, max_tokens).
    """
    request = urllib.request.Request(
        urllib.parse.urljoin(address, "/v1/completions"),
        data=json.dumps(dict(question, temperature=0)).encode(),
        headers={"Content-Type": "application/json"},
    )
    status, body = _fetch(request, timeout)
    if status != 200:
        return body if status is None else f"HTTP {status} {body[:500]}"
    try:
        text = json.loads(body)["choices"][0]["text"]
    except (ValueError, LookupError, TypeError):
        return f"no completion: {body[:500]}"
    return None if text else "an empty completion"
