# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What git, git-lfs and a hub say when they fail. The first that fits counts.

Private to the collection: breaking changes at any time.

Texts of git 2.39 with GnuTLS or OpenSSL, and of git-lfs 3.3. They are broad, and for the words of git alone.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._signature import Signature

_SOURCE = "observed: git 2.39 and git-lfs 3.3"
_READ_HELP = "A fine-grained token needs read access to gated repositories."

# The hub wants a login: without a token it says so of gated and of unknown repositories alike.
_LOGIN = (
    r"could not read Username|terminal prompts disabled|credentials for .* not found|Authentication (required|failed)"
    r"|error: 401|HTTP 401|Invalid (username or password|credentials)"
)
# The hub sent other bytes; the hub has no content for a pointer.
OTHER_BYTES = r"xpected OID ([0-9a-f]{64}), got"
NO_CONTENT = r"\[([0-9a-f]{64})\].*(?:does not exist|\[404\]|\[410\])"

LFS = (
    Signature(
        "object_corrupt",
        "weights",
        OTHER_BYTES,
        "The hub sends other bytes than the repository promises.",
        "Publish the file again. If other hosts get the right bytes, look for a proxy that alters downloads here.",
        _SOURCE,
    ),
    Signature(
        "object_missing",
        "weights",
        NO_CONTENT,
        "The hub does not have the content of a file: only its pointer was pushed.",
        "Publish the file again (git lfs push --all).",
        _SOURCE,
    ),
)

HUB = (
    Signature(
        "hub_unreachable",
        "weights",
        r"resolve proxy|from proxy|proxyconnect|response 407|Proxy Authentication Required",
        "The proxy on the way to {endpoint} does not let the connection through.",
        "Correct https_proxy, no_proxy or git's http.proxy on this host.",
        _SOURCE,
    ),
    Signature(
        "hub_unreachable",
        "weights",
        r"Could not resolve host|no such host|Temporary failure in name resolution|Name or service not known",
        "The hub's name cannot be resolved: {endpoint}.",
        "Correct the endpoint, or this host's DNS; behind a proxy set https_proxy.",
        _SOURCE,
    ),
    Signature(
        "hub_tls",
        "weights",
        r"SSL certificate|certificate verif|gnutls_handshake|SSL_connect|SSL:|TLS packet|tls: |x509: "
        r"|server gave HTTP response",
        "There is no trustworthy TLS connection to {endpoint}.",
        "Put the certificate authority of the hub, or of an intercepting proxy, into this host's trust store.",
        _SOURCE,
    ),
    Signature(
        "hub_odd",
        "weights",
        r"not valid: is this a git repository|dumb http transport|invalid character '<'|Expected JSON type|redirects",
        "{endpoint} does not answer as a hub does.",
        "Check that the endpoint is the address of a Hugging Face hub or of a mirror that is like it, and that no "
        "login page of a proxy stands between.",
        _SOURCE,
    ),
    Signature(
        "hub_unreachable",
        "weights",
        r"Failed to connect|Couldn't connect|onnection refused|timed out|No route to host"
        r"|etwork is unreachable|i/o timeout|too slow|onnection reset|unexpected disconnect"
        r"|hung up|EOF|broken pipe|onnection broken"
        r"|onnection was (aborted|closed)|Empty reply|RPC failed|stream error",
        "The hub cannot be reached, or the connection broke: {endpoint}.",
        "Check the address and firewall, then run again: what has arrived is kept.",
        _SOURCE,
    ),
    Signature(
        "repo_unknown_or_gated",
        "weights",
        _LOGIN,
        "{repo} does not exist on {endpoint}, or it is gated or private and no token was given.",
        "Check the spelling; for a gated or private repository give a token with access. " + _READ_HELP,
        _SOURCE,
    ),
    Signature(
        "token_invalid",
        "weights",
        _LOGIN,
        "{endpoint} does not accept the token.",
        "Make a new token (it may be mistyped, expired or revoked). "
        "Whether {repo} exists shows only once the token is valid.",
        _SOURCE,
    ),
    Signature(
        "no_access",
        "weights",
        r"error: 403|Authorization error|HTTP 403",
        "The token is valid but has no access to {repo}.",
        "Accept the terms at {url} with the token's account and wait for approval if needed. " + _READ_HELP,
        _SOURCE,
    ),
    Signature(
        "revision_unknown",
        "weights",
        r"not our ref|couldn't find remote ref|unadvertised object",
        "{repo} has no commit {revision}.",
        "Give a branch, a tag or a full commit of {url}.",
        _SOURCE,
    ),
    Signature(
        "hub_busy",
        "weights",
        r"error: 429|HTTP 429|Rate limit|Too Many Requests",
        "{endpoint} limits the rate.",
        "Wait some minutes; run again.",
        _SOURCE,
    ),
    Signature(
        "repo_unknown",
        "weights",
        r"repository '.*' not found|error: 404|Repository not found|Repository or object not found",
        "{repo} does not exist on {endpoint}, or the token may not see it.",
        "Check the spelling, and that the token's account may read it.",
        _SOURCE,
    ),
    Signature(
        "hub_error",
        "weights",
        r"error: 5\d\d|HTTP 5\d\d|Server error",
        "{endpoint} has an error of its own.",
        "Run again later.",
        _SOURCE,
    ),
)
