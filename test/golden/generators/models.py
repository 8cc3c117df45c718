"""Logits, hidden states, scores, log-probabilities and greedy continuations as transformers computes them.

Writes test/golden/data/models.json (or the file named by --output). Run: python test/golden/generators/models.py
"""

import argparse
import copy
import json
import platform
import sys
from pathlib import Path

import numpy
import torch
import transformers

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tiny_models import hash_uniform, tiny_model

OUTPUT = Path(__file__).resolve().parents[1] / "data" / "models.json"
NEW_TOKENS = 12
TOLERANCE = 3e-5  # of the tests: what they must notice has to move results by more
LENGTHS = [1, 2, 9, 170]

GEMMA = {"model_type": "gemma", "vocab_size": 101, "hidden_size": 48, "intermediate_size": 52, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 200, "rms_norm_eps": 1e-6, "bos_token_id": 2, "eos_token_id": 1,
         "pad_token_id": 0, "tie_word_embeddings": True}
LLAMA = {"model_type": "llama", "vocab_size": 83, "hidden_size": 36, "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 6,
         "num_key_value_heads": 2, "max_position_embeddings": 200, "rms_norm_eps": 1e-5, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0, "tie_word_embeddings": False}
GPT2 = {"model_type": "gpt2", "vocab_size": 97, "n_embd": 36, "n_layer": 2, "n_head": 3, "n_positions": 200, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "bos_token_id": 96, "eos_token_id": 96, "pad_token_id": 0}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}

# name -> (config.json, what a wrong reader would take instead). Hub files hold rope_theta, rope_scaling and torch_dtype;
# transformers 5 writes rope_parameters and dtype.
CASES = {
    "gemma-mqa": (
        GEMMA | {"num_hidden_layers": 1, "hidden_act": "gelu", "hidden_activation": None, "rope_theta": 10000.0, "rope_scaling": None,
                 "torch_dtype": "bfloat16"},
        {"rope_theta": 10010.0},
    ),
    "gemma-gqa": (
        GEMMA | {"num_key_value_heads": 2, "head_dim": 10, "hidden_act": "gelu_pytorch_tanh", "dtype": "float32",
                 "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 10010.0, "rope_type": "default"}},
    ),
    "gemma-exact": (GEMMA | {"hidden_act": "gelu_python", "transformers_version": "5.23.0"}, {"hidden_act": "gelu_pytorch_tanh"}),
    "llama-gqa": (LLAMA | {"rope_theta": 10000.0, "torch_dtype": "float32"}, {"rope_theta": 10010.0}),
    "llama3-tied-biases": (
        LLAMA | {"head_dim": 8, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "eos_token_id": [2, 5],
                 "rope_parameters": {"rope_theta": 500000.0, **LLAMA3_ROPE}},
        {"rope_parameters": {"rope_theta": 500000.0, **LLAMA3_ROPE, "high_freq_factor": 4.01}},
    ),
    "llama-linear": (
        LLAMA | {"num_key_value_heads": 6, "num_hidden_layers": 1, "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_scaling": {"type": "linear", "factor": 4.01}},
    ),
    "gpt2": (GPT2, {"activation_function": "gelu"}),
    "gpt2-odd": (
        GPT2 | {"n_embd": 35, "n_layer": 1, "n_head": 5, "n_inner": 50, "activation_function": "gelu", "scale_attn_by_inverse_layer_idx": True,
                "vocab_size": 90, "eos_token_id": 4},
        {"layer_norm_epsilon": 2e-5},
    ),
}


def rounded(values) -> list:
    return [float(f"{value:.9g}") for value in torch.as_tensor(values).double().flatten().tolist()]


def rows_of(name: str, vocab: int) -> list[list[int]]:
    """Ids that are no special token of any case."""
    values = (8 + (hash_uniform(f"rows.{name}", sum(LENGTHS)) * 0.5 + 0.5) * (vocab - 10)).astype(int).tolist()
    starts = numpy.cumsum([0, *LENGTHS])
    return [values[start:end] for start, end in zip(starts, starts[1:])]


def relative(actual, expected) -> float:
    actual, expected = torch.as_tensor(actual).double(), torch.as_tensor(expected).double()
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def forward(model, rows) -> dict:
    """At the last token of each row: hidden state and logits; of every token after the first its log-probability."""
    result = {"hidden": [], "logits": [], "logprobs": []}
    for row in rows:
        ids = torch.tensor([row])
        hidden = model.base_model(ids).last_hidden_state
        logits = model(ids).logits[0].float()
        result["hidden"].append(hidden[0, -1].float())
        result["logits"].append(logits[-1])
        result["logprobs"].append(logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0])
    return {key: torch.cat(values) for key, values in result.items()}


def greedy(model, rows) -> list[list[int]]:
    return [
        model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long), max_new_tokens=NEW_TOKENS, do_sample=False)[
            0, len(row) :
        ].tolist()
        for row in rows
    ]


def padded_scores(model, rows, left: bool) -> torch.Tensor:
    longest = max(map(len, rows))
    pad = model.config.pad_token_id
    ids = [[pad] * (longest - len(row)) + row if left else row + [pad] * (longest - len(row)) for row in rows]
    mask = torch.tensor([[int(token != pad) for token in row] for row in ids])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return model(torch.tensor(ids), attention_mask=mask, position_ids=positions).logits.float()


def causal_case(name: str, config: dict, wrong: dict) -> dict:
    rows = rows_of(name, config["vocab_size"])
    model, model16 = tiny_model(config, False), tiny_model(config, False, torch.bfloat16)
    wanted, wanted16 = forward(model, rows), forward(model16, rows)
    mistaken = forward(tiny_model(config | wrong, False), rows)
    moved = relative(mistaken["logits"], wanted["logits"])
    assert moved > 2 * TOLERANCE, f"{name}: {wrong} moves the logits by {moved} only"
    prompts = [row[: max(1, len(row) - NEW_TOKENS)] for row in rows]
    return {
        "config": config,
        "wrong": wrong,
        "rows": rows,
        **{key: rounded(value) for key, value in wanted.items()},
        # PyTorch's own bfloat16 against its float32, as root mean square over these values.
        "bf16Error": {key: (wanted16[key] - wanted[key]).double().square().mean().sqrt().item() for key in ("hidden", "logits", "logprobs")},
        "prompts": prompts,
        "greedy": greedy(model, prompts),
    }


def labelled(config: dict, labels: int) -> dict:
    return config | {"id2label": {str(i): f"LABEL_{i}" for i in range(labels)}, "label2id": {f"LABEL_{i}": i for i in range(labels)}}


def classifier_bf16_error(config: dict, rows) -> float:
    """Over ten heads, whatever the case has: a few scores say too little of rounding errors."""
    scores = [
        torch.cat([tiny_model(labelled(config, 10), True, dtype)(torch.tensor([row])).logits.float() for row in rows])
        for dtype in (torch.float32, torch.bfloat16)
    ]
    return (scores[1] - scores[0]).double().square().mean().sqrt().item()


def classifier_case(name: str, config: dict, labels: int) -> dict:
    rows = rows_of(name, config["vocab_size"])
    model = tiny_model(labelled(config, labels), True)
    right, left = padded_scores(model, rows, False), padded_scores(model, rows, True)
    assert relative(left, right) < TOLERANCE
    return {
        "config": labelled(config, labels),
        "rows": rows,
        "scoresRightPadded": rounded(right),
        "scoresLeftPadded": rounded(left),
        # PyTorch's own, root mean square.
        "bf16Error": {"scores": classifier_bf16_error(config, rows)},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    data = {
        "environment": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
                        "numpy": numpy.__version__, "machine": platform.machine()},
        "newTokens": NEW_TOKENS,
        "causal": {},
        "classifiers": {},
    }
    with torch.no_grad():
        for name, (config, wrong) in CASES.items():
            data["causal"][name] = causal_case(name, copy.deepcopy(config), wrong)
            for labels in (1, 10):
                data["classifiers"][f"{name}-{labels}"] = classifier_case(name, copy.deepcopy(config), labels)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(data, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
