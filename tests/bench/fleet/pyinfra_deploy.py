"""The job of tests/bench/idiomatic_whole.yml, as pyinfra does it."""

from pyinfra import host
from pyinfra.operations import apt, docker, files, git, server

WEIGHTS, CACHE = "/var/lib/pyinfra/weights", "/var/lib/pyinfra/cache"
IMAGE, CLONE = host.data.nim_image, host.data.nim_clone

apt.packages(name="Install what fetches the weights", packages=["git", "git-lfs"])
files.directory(name="Make the weights' directory", path="/var/lib/pyinfra", mode="755")
files.directory(name="Make the cache", path=CACHE, user="1000", mode="770")
server.shell(name="Have git fetch large files", commands=["[ -e /etc/gitconfig ] || git lfs install --system"])
git.repo(name="Fetch the weights", src=host.data.nim_repo, dest=CLONE, branch="main")
server.shell(name="Fetch the large files that are missing", commands=[f"cd {CLONE} && git lfs pull"])
docker.login(
    name="Log in to the registry",
    server=host.data.nim_registry,
    username="$oauthtoken",
    password=host.data.nim_key,
)
docker.image(name="Pull the image", image=IMAGE)
docker.container(
    name="Run the NIM",
    container="nim-pyinfra",
    image=IMAGE,
    ports=["8200:8000"],
    user="1000:0",
    restart_policy="unless-stopped",
    volumes=[f"{WEIGHTS}:/model:ro", f"{CACHE}:/opt/nim/.cache"],
    env_vars=[
        f"NGC_API_KEY={host.data.nim_key}",
        "NIM_FT_MODEL=/model",
        "NIM_SERVED_MODEL_NAME=capitals",
        "NIM_CUSTOM_MODEL_NAME=pyinfra-weights",
        "NIM_RELAX_MEM_CONSTRAINTS=1",
        "NIM_KVCACHE_PERCENT=0.2",
    ],
    extra_args=["--device", "nvidia.com/gpu=0"] if host.data.nim_cdi else ["--gpus", "device=0"],
)
server.shell(
    name="Wait until it is ready, and ask it",
    commands=[
        "until curl -fsS http://127.0.0.1:8200/v1/health/ready; do sleep 1; done",
        "curl -fsS http://127.0.0.1:8200/v1/completions -H 'Content-Type: application/json'"
        ' -d \'{"model": "capitals", "prompt": "What is the capital of France?", "max_tokens": 8}\' | grep -q Paris',
    ],
    _timeout=120,
)
