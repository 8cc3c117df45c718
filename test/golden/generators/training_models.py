"""Tiny models of odd shapes whose weights are a hash of their names: C++ builds the same without any file."""

import numpy
import torch
from transformers import GemmaConfig, GemmaForCausalLM, GemmaForSequenceClassification
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

CONFIGS = {
    "gpt2": {"model_type": "gpt2", "vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32, "n_inner": None,
             "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 60, "eos_token_id": 60},
    "gemma": {"model_type": "gemma", "vocab_size": 53, "hidden_size": 20, "intermediate_size": 36, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 6, "max_position_embeddings": 32, "rms_norm_eps": 1e-6,
              "rope_theta": 10000.0, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
              "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
    "llama": {"model_type": "llama", "vocab_size": 47, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1,
              "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
              "rope_theta": 5000.0, "hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
              "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
}
CLASSES = {
    "gpt2": (GPT2Config, GPT2LMHeadModel, GPT2ForSequenceClassification),
    "gemma": (GemmaConfig, GemmaForCausalLM, GemmaForSequenceClassification),
    "llama": (LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification),
}
SCALE = 0.2


def hash_uniform(label: str, count: int) -> numpy.ndarray:
    """count values in [-1, 1): splitmix64 over FNV-1a of the label, 24 bits each."""
    state = 0xCBF29CE484222325
    for byte in label.encode():
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(state) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return (z >> numpy.uint64(40)).astype(numpy.float64) / float(1 << 23) - 1.0


def fill(model: torch.nn.Module, seed: int, unit_norms: bool) -> None:
    """Norm gains near 1 (Gemma's, which are offsets from 1, near 0); all else uniform in +-SCALE."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = hash_uniform(f"{seed}.{name}", parameter.numel()) * SCALE
            if unit_norms and parameter.dim() == 1 and name.endswith("weight"):
                values = values + 1.0
            parameter.copy_(torch.from_numpy(values.astype(numpy.float32)).reshape(parameter.shape))


class ValueHead(torch.nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.summary = torch.nn.Linear(hidden, 1)


def build(name: str, cls: int, **settings):
    fields = {key: value for key, value in CONFIGS[name].items() if key != "model_type"}
    config = CLASSES[name][0](**fields, **settings, attn_implementation="eager")
    for key in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        if hasattr(config, key):
            setattr(config, key, 0.0)
    model = CLASSES[name][cls](config).eval()
    # PyTorch gives the embedding of the padding id no gradient. Packed rows hold no padding: an id in them is a token.
    model.get_input_embeddings().padding_idx = None
    return model


def causal_model(name: str, seed: int, value_head: bool = False):
    model = build(name, 1)
    if value_head:
        model.v_head = ValueHead(model.config.hidden_size)
    fill(model, seed, name != "gemma")
    return model


def classifier(name: str, seed: int, heads: int):
    model = build(name, 2, num_labels=heads)
    fill(model, seed, name != "gemma")
    return model
