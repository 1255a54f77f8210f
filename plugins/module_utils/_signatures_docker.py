# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Failures of Docker, of NVIDIA's container toolkit and driver: before NIM itself has begun. The specific come first.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._cdi import GENERATE, SWITCH_ON
from ansible_collections.llmops.nim.plugins.module_utils._signature import Signature

_CONFIGURE = "nvidia-ctk runtime configure --runtime=docker && systemctl restart docker"
_MOBY = "observed: Docker Engine 20.10 to 28"

DOCKER = (
    Signature(
        "docker_permission",
        "docker",
        r"permission denied while trying to connect to the Docker (?:daemon socket|API)",
        "This user may not talk to Docker.",
        "Run the play with become: true, or add the user to the group docker and log in again.",
        "observed: published log of docker run",
    ),
    Signature(
        "docker_unreachable",
        "docker",
        r"Cannot connect to the Docker daemon|Is the docker daemon running|Error while fetching server API version",
        "Docker does not answer.",
        "Start it (systemctl start docker) and look into its log (journalctl -u docker).",
        "documented: https://docs.docker.com/engine/daemon/troubleshoot/",
    ),
    Signature(
        "cdi_off",
        "docker",
        r'could not select device driver "cdi"',
        "CDI is switched off in Docker.",
        SWITCH_ON,
        "observed: Docker 26.1",
    ),
    Signature(
        "cdi_device_missing",
        "docker",
        r"unresolvable CDI devices (?P<device>[^\s,]{1,200})",
        "No CDI specification of this host names the GPU {device}.",
        f"Write it anew: {GENERATE}",
        "observed: Docker 26.1",
    ),
    Signature(
        "toolkit_missing",
        "docker",
        r"could not select device driver",
        "Docker cannot hand out GPUs: the NVIDIA container toolkit is missing, or Docker was not restarted since.",
        f"Install the package nvidia-container-toolkit, then: {_CONFIGURE}",
        "observed: published logs of docker run --gpus",
    ),
    Signature(
        "runtime_unknown",
        "docker",
        r"unknown or invalid runtime name: (?P<runtime>[\w.-]{1,60}?)\.?(?=\s|$)",
        "Docker knows no runtime named {runtime}.",
        f"{_CONFIGURE}; or hand out GPUs by --gpus, without --runtime.",
        "observed: https://github.com/NVIDIA/nim-anywhere/issues/4",
    ),
    Signature(
        "driver_mismatch",
        "docker",
        r"(?:nvml error: |Failed to initialize NVML: )driver/library version mismatch",
        "The NVIDIA driver was updated and the host not rebooted since: kernel module and libraries differ.",
        "Reboot the host (or unload and load the nvidia kernel modules while nothing uses a GPU).",
        "observed: https://github.com/NVIDIA/nvidia-container-toolkit/issues/394",
    ),
    Signature(
        "driver_not_loaded",
        "docker",
        r"nvml error: driver not loaded",
        "The NVIDIA driver's kernel module is not loaded.",
        "Load it (modprobe nvidia) or reboot; if that fails, install the driver for the running kernel.",
        "observed: published log of nvidia-container-cli",
    ),
    Signature(
        "driver_not_loaded",
        "docker",
        r"load library failed: libnvidia-ml\.so",
        "The NVIDIA driver's libraries are missing, or Docker (from snap) does not see them.",
        "Install the driver's libraries; replace a Docker from snap by the distribution's or Docker's own packages.",
        "observed: https://github.com/NVIDIA/nvidia-docker/issues/1711",
    ),
    Signature(
        "driver_too_old",
        "docker",
        r"unsatisfied condition: cuda\s*>=\s*(?P<cuda>\d{1,3}(?:\.\d{1,3})*)",
        "The NVIDIA driver is too old for the image, which wants CUDA {cuda}.",
        "Install a driver that has CUDA {cuda} (nvidia-smi names it) and reboot, or take an older image.",
        "observed: published log, driver 535 with an image for CUDA 12.5",
    ),
    Signature(
        "gpu_unknown",
        "docker",
        r"nvidia-container-cli: device error: (?P<gpu>[\w-]{1,60}): unknown device",
        "GPU {gpu}, which the container is to have, is not on this host.",
        "See nvidia-smi -L for those that are, and name one of them in gpus.",
        "observed: published logs of nvidia-container-cli",
    ),
    Signature(
        "gpus_lost",
        "docker",
        r"Failed to initialize NVML: Unknown Error",
        "The container has lost its GPUs, as happens when systemd reloads its units beneath a running container.",
        "Restart the container; to prevent it, let Docker use cgroupfs "
        '("exec-opts": ["native.cgroupdriver=cgroupfs"] in daemon.json) or name the devices in a CDI specification.',
        "documented: https://github.com/NVIDIA/nvidia-docker/issues/1730",
    ),
    Signature(
        "port_in_use",
        "docker",
        r"Bind for (?P<address>\S{1,64}):(?P<port>\d{1,5}) failed: port is already allocated"
        r"|listen tcp[46]? (?P<address2>\S{1,64}):(?P<port2>\d{1,5}): bind: address already in use",
        "The port {port} of {address} is taken on the host.",
        "Stop what holds it (ss -ltnp sport = :{port}), or give the model another port.",
        _MOBY,
    ),
    Signature(
        "address_not_here",
        "docker",
        r"listen tcp[46]? (?P<address>\S{1,64}):(?P<port>\d{1,5}): bind: cannot assign requested address",
        "The host has no address {address}.",
        "Give the model an address of the host (ip address), or 0.0.0.0 for all.",
        _MOBY,
    ),
    Signature(
        "mount_missing",
        "docker",
        r"invalid mount config for type .bind.: bind source path does not exist: (?P<path>\S{1,300})",
        "What the container mounts is not on the host: {path}",
        "Deploy again, which brings weights and directories back.",
        _MOBY,
    ),
    Signature(
        "container_name_taken",
        "docker",
        r"The container name \S{1,120} is already in use",
        "There is a container of this name already.",
        "Remove it (docker rm) if nobody needs it, then run again.",
        _MOBY,
    ),
    Signature(
        "not_a_nim",
        "docker",
        r"executable file not found in \$PATH|list-model-profiles: (?:command )?not found",
        "The image has no such command: it is not a NIM for LLMs.",
        "Check the image's name.",
        "observed: Docker Engine with an image that is no NIM",
    ),
    Signature(
        "image_architecture",
        "docker",
        r"exec format error|no matching manifest for (?P<platform>linux/[\w/]{1,30})",
        "The image is made for another architecture than this server's[: it is not for {platform}].",
        "Choose an image made for this architecture (uname -m).",
        "observed: https://github.com/docker-library/mysql/issues/698",
    ),
)

PULL = (
    Signature(
        "disk_full",
        "pull",
        r"failed to register layer:[^\n]{0,400}no space left on device|write /var/lib/docker[^\n]{0,400}no space left",
        "The disk is full where Docker keeps its images.",
        "Free space where Docker keeps its data (docker system df; playbooks/prune.yml) or move data-root: an image "
        "of NIM takes 13 to 40 GB, and about twice that while it is unpacked.",
        "observed: https://github.com/NVIDIA-NeMo/Speech/issues/1029; documented: sizes of NIM's images",
    ),
    Signature(
        "registry_login",
        "pull",
        r"unauthorized: authentication required|failed to fetch anonymous token: unexpected status: 401"
        r"|no basic auth credentials",
        "The registry wants a login that the pull did not have, or does not accept its key.",
        "docker login nvcr.io -u '$oauthtoken' --password-stdin (that user, literally), as the user that pulls; the "
        "key "
        "needs the service NGC Catalog. A deploy with NGC_API_KEY does it.",
        "observed: https://github.com/NVIDIA/nim-anywhere/issues/4",
    ),
    Signature(
        "image_denied",
        "pull",
        r"pull access denied|requested access to the resource is denied|from daemon: denied\b"
        r"|unexpected status.{0,200}: 403 Forbidden",
        "The registry does not give out the image: the repository does not exist, its licence is not accepted, or the "
        "key's organisation has no entitlement. The registry gives one answer for the three.",
        "Ask for an image that is known to be there with the same key (nim_image_info), then check the name, and "
        "accept "
        "the terms on the image's page on NGC.",
        "documented: NeMo Retriever's troubleshooting; observed: nvcr.io",
    ),
    Signature(
        "image_unknown",
        "pull",
        r"manifest unknown|manifest for \S{1,200} not found",
        "The image has no such tag or digest.",
        "Name a tag that exists, or its digest: some NIMs have no tag latest, and lists of tags are not complete.",
        "observed: nvcr.io",
    ),
    Signature(
        "image_missing",
        "pull",
        r"No such image|Unable to find image \S{1,200} locally",
        "The image is not on this host.",
        "Pull it first (docker pull), or run playbooks/stage.yml.",
        _MOBY,
        # A pull that follows says why it failed.
        unless=r"unauthorized|denied|manifest unknown|no space left|unexpected status|Downloaded newer image",
    ),
    Signature(
        "registry_tls",
        "pull",
        r"x509: (?P<why>[^\n]{1,200})",
        "The certificate on the way to the registry is not trusted: {why}",
        "Put the certificate authority of the registry, or of an intercepting proxy, into the host's trust store, then "
        "restart Docker. Check the clock too.",
        "observed: https://github.com/moby/moby/issues/20912",
    ),
    Signature(
        "registry_unreachable",
        "pull",
        r"dial tcp[^\n]{0,300}(?:no such host|i/o timeout|connection refused|network is unreachable|server misbehaving"
        r"|no route to host)|net/http: TLS handshake timeout|\(Client\.Timeout exceeded",
        "The registry cannot be reached from this host.",
        "Check that it is up, and the host's DNS, firewall and proxy (Docker has a proxy setting of its own).",
        "observed: https://github.com/distribution/distribution/issues/1194",
    ),
    Signature(
        "registry_busy",
        "pull",
        r"toomanyrequests|429 Too Many Requests",
        "The registry limits the rate.",
        "Wait some minutes; run again, with fewer hosts at a time (--forks).",
        "documented: OCI distribution specification, error codes",
    ),
)
