"""Ends the demo: asks every model of the lab the same questions (the lines of PROMPT) and says what to try next.

show.py own    asks the one that rehearses weights of an operator's own
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import openai

QUESTIONS = (os.environ.get("PROMPT") or "What is the capital of France?").splitlines()
INVENTORY = "inventories/lab"
OWN = "inventories/lab_own"


def models(own):
    """Every model of the lab's inventory, or those of one's own: (host, address, model) in the order of the hosts."""
    inventories = ["-i", INVENTORY, "-i", OWN] if own else ["-i", INVENTORY]
    listing = subprocess.check_output(["ansible-inventory", *inventories, "--list"])
    for host, variables in json.loads(listing)["_meta"]["hostvars"].items():
        for model in variables.get("nim_models", []):
            if not own or model["name"] == "own":
                yield host, variables["ansible_host"], model


def ask(address, model, question):
    client = openai.OpenAI(base_url=f"http://{address}:{model['port']}/v1", api_key="none", timeout=60)
    answer = client.completions.create(model=model["name"], prompt=question, max_tokens=64, temperature=0)
    return answer.choices[0].text.strip()


def main(own=False):
    found = list(models(own))
    for question in QUESTIONS:
        print(f"\n  Question: {question}\n")
        for host, address, model in found:
            print(f"  {host}  {model['name']:<10} {model['weights']['repo']:<28} → {ask(address, model, question)}")
    host, address, model = found[0]
    inventories = f"-i {INVENTORY} -i {OWN} --limit {host}" if own else f"-i {INVENTORY}"
    body = json.dumps({"model": model["name"], "prompt": QUESTIONS[0], "max_tokens": 64})
    print(
        f"""
What to try next (with `. .venv/bin/activate`):
  ansible-playbook playbooks/status.yml {inventories}        who serves what
  ansible-playbook playbooks/deploy.yml {inventories}        again: nothing changes
  ssh -F .lab/keys/ssh_config {host}                                   look around on a server: docker ps, nvidia-smi
  ssh -F .lab/keys/ssh_config {host} 'sudo docker logs $(sudo docker ps -q -f label=llmops.nim.model={model["name"]})'
  curl -s http://{address}:{model["port"]}/v1/completions -H 'Content-Type: application/json' -d '{body}'
  make clean                                                   takes everything down"""
    )


if __name__ == "__main__":
    sys.exit(main(own=sys.argv[1:] == ["own"]))
