"""Ends the demo: asks every model of the lab the same question and says what to try next."""

from __future__ import annotations

import json
import subprocess
import sys

import openai

QUESTION = "What is the capital of France?"
INVENTORY = "inventories/lab"


def models():
    """Every model of the lab's inventory: (host, address, model) in the order of the hosts."""
    listing = subprocess.check_output(["ansible-inventory", "-i", INVENTORY, "--list"])
    for host, variables in json.loads(listing)["_meta"]["hostvars"].items():
        for model in variables["nim_models"]:
            yield host, variables["ansible_host"], model


def ask(address, model):
    client = openai.OpenAI(base_url=f"http://{address}:{model['port']}/v1", api_key="none", timeout=60)
    answer = client.completions.create(model=model["name"], prompt=QUESTION, max_tokens=64, temperature=0)
    return answer.choices[0].text.strip()


def main():
    print(f"\n  Question: {QUESTION}\n")
    for host, address, model in models():
        print(f"  {host}  {model['name']:<10} {model['weights']['repo']:<28} → {ask(address, model)}")
    host, address, model = next(models())
    body = json.dumps({"model": model["name"], "prompt": QUESTION, "max_tokens": 64})
    print(
        f"""
What to try next (with `. .venv/bin/activate`):
  ansible-playbook playbooks/status.yml -i {INVENTORY}        who serves what
  ansible-playbook playbooks/deploy.yml -i {INVENTORY}        again: nothing changes
  ssh -F .lab/keys/ssh_config {host}                                   look around on a server: docker ps, nvidia-smi
  ssh -F .lab/keys/ssh_config {host} 'sudo docker logs $(sudo docker ps -q -f label=llmops.nim.model={model["name"]})'
  curl -s http://{address}:{model["port"]}/v1/completions -H 'Content-Type: application/json' -d '{body}'
  make clean                                                   takes everything down"""
    )


if __name__ == "__main__":
    sys.exit(main())
