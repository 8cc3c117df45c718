"""Tiny models of odd shapes whose weights are a hash of their names, so that no weights are committed.

test/support/tiny-models.ts and native/tests/support/tiny_model.h build the same ones. Every value has at most 8 significant
bits: a model is the same to the bit in float32 and bfloat16, and what differs is arithmetic alone.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "generators"))

import numpy
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
from training_models import hash_uniform


def is_norm_gain(name: str) -> bool:
    return name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))


def tiny_values(name: str, count: int, model_type: str) -> numpy.ndarray:
    """k / 256 with k an integer in [-64, 64); gains of norms k / 128, around 1 (Gemma's, which are offsets from 1: around 0)."""
    steps = numpy.floor(hash_uniform(name, count) * 64)
    if not is_norm_gain(name):
        return steps / 256
    return steps / 128 + (0 if model_type == "gemma" else 1)


def config_of(config: dict):
    return AutoConfig.for_model(**config)


def tiny_model(config: dict, classifier: bool, dtype=torch.float32):
    """config: the members of a config.json."""
    parsed = config_of(config)
    parsed.dtype = torch.float32
    for key in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        if hasattr(parsed, key):
            setattr(parsed, key, 0.0)
    auto = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
    model = auto.from_config(parsed, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = tiny_values(name, parameter.numel(), config["model_type"])
            parameter.copy_(torch.from_numpy(values.astype(numpy.float32)).reshape(parameter.shape))
    return model.to(dtype)
