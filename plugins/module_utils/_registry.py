# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Asks a container registry what a tag means, without pulling anything.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._pull import NAME_LENGTH

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# A part of a repository's name (OCI distribution specification); so it leads nowhere else in an address.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REFERENCE = re.compile(
    rf"(?P<registry>[a-z0-9][a-z0-9.-]*(?::\d+)?)/(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?\Z"
)


class Reference:
    """An image reference such as C(nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4), taken apart."""

    def __init__(self, text):
        match = REFERENCE.match(text)
        if not match or not (match.group("tag") or match.group("digest")):
            raise Problem(
                f"{text!r} is not a whole image reference",
                "a registry host, a repository and a tag or digest are needed",
                "write it like nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4",
                "image_reference",
            )
        self.text = text
        self.registry = match.group("registry")
        self.repository = match.group("repository")
        self.tag = match.group("tag")
        self.digest = match.group("digest")

    @property
    def name(self):
        """Registry and repository, without tag or digest."""
        return f"{self.registry}/{self.repository}"

    def pinned(self, digest):
        """The reference by digest (str C(sha256:…)), which can never come to mean another image."""
        return f"{self.name}@{digest}"


class _KeepCredentialsAtHome(urllib.request.HTTPRedirectHandler):
    """Registries send blobs from object stores: those must never see our credentials."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new


class Registry:
    """One registry host, asked over its HTTP API (OCI distribution specification) with Basic or Bearer authentication.

    host: name and optional port. username, password: the login, or None for anonymous. timeout: seconds per request.
    """

    def __init__(self, host, username=None, password=None, timeout=30):
        self.host = host
        self.timeout = timeout
        self._login = None
        if password:
            self._login = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._authorization = None
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context()), _KeepCredentialsAtHome()
        )

    def resolve(self, reference):
        """What the Reference means now: dict of reference, pinned, digest, bytes (compressed), layers (bytes of
        each, by its name as docker pull shows it), labels and env.

        Raises Problem when the registry cannot be reached, refuses the login, or does not have the image.
        """
        wanted = reference.digest or reference.tag
        digest, manifest = self._manifest(reference, wanted)
        if "manifests" in manifest:
            manifest = self._manifest(reference, self._own_platform(reference, manifest["manifests"]))[1]
        config = json.loads(self._get(reference, "blobs", manifest["config"]["digest"]))
        image = config.get("config") or {}
        return {
            "reference": reference.text,
            "pinned": reference.pinned(reference.digest or digest),
            "digest": reference.digest or digest,
            "bytes": sum(layer["size"] for layer in manifest["layers"]),
            "layers": {_layer_name(layer["digest"]): layer["size"] for layer in manifest["layers"]},
            "labels": image.get("Labels") or {},
            "env": dict(entry.partition("=")[::2] for entry in image.get("Env") or []),
        }

    @staticmethod
    def _own_platform(reference, manifests):
        architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
        offered = []
        for entry in manifests:
            where = entry.get("platform", {})
            if where.get("os") == "linux" and where.get("architecture") == architecture:
                return entry["digest"]
            offered.append(f"{where.get('os')}/{where.get('architecture')}")
        raise Problem(
            f"{reference.text} does not exist for this server's architecture",
            f"the server is linux/{architecture}, the image is made for {', '.join(offered)}",
            "choose an image made for this architecture",
            "image_architecture",
        )

    def _manifest(self, reference, wanted):
        body = self._get(reference, "manifests", wanted)
        # A digest is the hash of the manifest's bytes: registries need not send it (OCI distribution specification).
        return "sha256:" + hashlib.sha256(body).hexdigest(), json.loads(body)

    def _get(self, reference, kind, wanted):
        url = f"https://{self.host}/v2/{reference.repository}/{kind}/{wanted}"
        try:
            return self._send(url)
        except urllib.error.HTTPError as error:
            if error.code == 401 and self._authorization is None:
                self._authorization = self._authorize(reference, error.headers.get("WWW-Authenticate", ""))
                try:
                    return self._send(url)
                except urllib.error.HTTPError as second:
                    raise self._refused(reference, second) from None
            raise self._refused(reference, error) from None

    def _send(self, url, authorization=None):
        headers = {"Accept": ", ".join(MANIFESTS)}
        if authorization or self._authorization:
            headers["Authorization"] = authorization or self._authorization
        try:
            with self._opener.open(urllib.request.Request(url, headers=headers), timeout=self.timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, socket.timeout, OSError) as error:
            raise self._unreached(getattr(error, "reason", error)) from None

    def _unreached(self, reason):
        """The Problem of a connection that did not come about, for a reason (an exception, or str)."""
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Problem(
                f"The certificate of the registry {self.host} is not trusted by this server",
                str(reason),
                "put the certificate authority of the registry, or of an intercepting proxy, into this server's trust "
                "store, and check the clock; nothing was changed",
                "registry_tls",
            )
        return Problem(
            f"The registry {self.host} cannot be reached from this server",
            str(reason),
            "check that the registry is up, and this server's DNS, firewall and proxy; "
            "whether the image exists could not be asked, and nothing was changed",
            "registry_unreachable",
        )

    def _authorize(self, reference, challenge):
        """The Authorization header that answers the challenge (WWW-Authenticate) of the registry."""
        if not self._login:
            raise Problem(
                f"There is no NGC key, and {self.host} wants one for {reference.text}",
                f"HTTP 401 ({challenge.partition(' ')[0]} authentication wanted), and ngc_api_key is empty",
                "export NGC_API_KEY on the control node, or set ngc_api_key in a vault",
                "ngc_key_missing",
            )
        scheme, _blank, rest = challenge.partition(" ")
        if scheme.lower() != "bearer":
            self._check_login(f"https://{self.host}/v2/")
            return self._login
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        query = {"service": fields.get("service", ""), "scope": f"repository:{reference.repository}:pull"}
        token = json.loads(self._check_login(fields.get("realm", "") + "?" + urllib.parse.urlencode(query)))
        return "Bearer " + (token.get("token") or token.get("access_token") or "")

    def _check_login(self, url):
        """What the login's own address answers: tells a bad key from an image that one may not have."""
        try:
            return self._send(url, self._login)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise Problem(
                    f"The registry {self.host} refuses the NGC key",
                    f"HTTP {error.code} for the login itself, before any image was asked for",
                    "make a new key at https://org.ngc.nvidia.com/setup/api-keys with the service 'NGC Catalog', "
                    "and check that NGC_API_KEY or ngc_api_key holds it whole",
                    "ngc_key_refused",
                ) from None
            raise Problem(
                f"The registry {self.host} does not answer the login",
                f"HTTP {error.code}",
                "try again later; nothing was changed",
                "registry_unreachable",
            ) from None

    def _refused(self, reference, error):
        said = _message(error)
        if error.code == 404:
            return Problem(
                f"The registry {self.host} has no image {reference.text}",
                f"HTTP 404 {said}",
                "check repository and tag for a slip; some NIMs have no tag 'latest'",
                "image_unknown",
            )
        if error.code in (401, 402, 403):
            return Problem(
                f"The NGC key is good, but {self.host} does not give it {reference.text}",
                f"HTTP {error.code} {said}",
                "the registry gives this answer when the repository does not exist, when its licence is not accepted, "
                "and when the key's organisation has no entitlement: check the name, then accept the terms on NGC",
                "image_denied",
            )
        return Problem(
            f"The registry {self.host} failed on {reference.text}",
            f"HTTP {error.code} {said}",
            "try again later; nothing was changed",
            "registry_unreachable",
        )


def _layer_name(digest):
    return digest.partition(":")[2][:NAME_LENGTH]


def _message(error):
    """The registry's own words (OCI error body), shortened; an empty str when there are none."""
    try:
        errors = json.loads(error.read(4096)).get("errors") or [{}]
        return f"{errors[0].get('code', '')}: {errors[0].get('message', '')}"[:300]
    except (ValueError, AttributeError, OSError):
        return ""
