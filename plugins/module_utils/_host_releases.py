# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The releases on a host, and their images, as Docker tells of them.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _host, _host_docker
from ansible_collections.llmops.nim.plugins.module_utils._health import is_ready, url
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL


def containers(docker):
    """All containers of the host, as _host_docker.ps() gives them; raises Problem when Docker does not answer."""
    listed = _host.run(_host_docker.commands(docker, ())["ps"])
    if listed.rc:
        error = listed.err.strip()
        raise _host_docker.unreachable({"installed": not listed.missing, "error": error})
    return _host_docker.ps(listed)


def releases(docker, found):
    """The releases among the containers found, and the id of each one's image (dict of container to str)."""
    inspect = _host_docker.inspect_command(docker, found)
    if not inspect:
        return [], {}
    result = _host.run(inspect)
    ids = {(one.get("Name") or "").lstrip("/"): one.get("Image") for one in _host_docker.json_lines(result.out)}
    return _host_docker.releases(result), ids


def image_names(docker, ids):
    """The id and names that each container's image has (dict of container to list of str), where the image is known.

    ids: dict of container to the id of its image.
    """
    wanted = sorted({identity for identity in ids.values() if identity})
    if not wanted:
        return {}
    result = _host.run([docker, "image", "inspect", "--format", "{{json .}}", *wanted])
    names = {
        one.get("Id"): [*(one.get("RepoDigests") or []), *(one.get("RepoTags") or []), one.get("Id")]
        for one in _host_docker.json_lines(result.out)
    }
    return {container: names[identity] for container, identity in ids.items() if identity in names}


def health_url(release):
    """The address (str) at which a release (dict of releases()) says whether it is ready."""
    return url(release["port"], release["labels"].get(LABEL + "address") or "0.0.0.0")


def observed(release, timeout, now):
    """The release with C(health) and C(age_seconds); timeout: seconds to wait for an answer; now: aware datetime."""
    if not release["running"]:
        return dict(release, health=release["status"], age_seconds=None)
    health = "ready" if is_ready(health_url(release), timeout) else "not ready"
    return dict(release, health=health, age_seconds=_clock.seconds_since(release["started"], now))
