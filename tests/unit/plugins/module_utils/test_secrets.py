# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _secrets

KEY = "nvapi-0123456789abcdef"


def test_secret_values():
    env = {
        "NGC_API_KEY": KEY,
        "HF_TOKEN": "hf_abcdefgh",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUt",
        "NIM_SSL_KEY_PATH": "/certs/key.pem",
        "TOKENIZERS_PARALLELISM": "false",
        "NIM_SERVED_MODEL_NAME": "wren",
        "EMPTY_TOKEN": "",
    }
    assert _secrets.secret_values(env) == {KEY, "hf_abcdefgh", "wJalrXUt"}


def test_only_secrets_stay_masked():
    masked = {"hub-token", "4096", KEY}
    model = {"env": {"NIM_MAX_MODEL_LEN": 4096}, "unchecked_env": {"HF_TOKEN": "hub-token"}}
    _secrets.only_secrets(masked, [model])
    assert masked == {"hub-token", KEY}


def test_a_plan_has_the_variables_of_the_inventory_and_not_the_stars():
    shown = [{"name": "a", "env": {"X": "1"}, "unchecked_env": {"HF_TOKEN": "********"}}]
    wished = [{"name": "a", "unchecked_env": {"HF_TOKEN": "hub-token"}}]
    (model,) = _secrets.restored(shown, wished)
    assert model == {"name": "a", "env": {"X": "1"}, "unchecked_env": {"HF_TOKEN": "hub-token"}}
    assert _secrets.restored(shown, []) == shown
