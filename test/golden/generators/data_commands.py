"""Tiny random models with tokenizers, and what transformers answers for the inputs of `prudent score|generate|logprobs`.

Run: python test/golden/generators/data_commands.py   (writes test/cli/files/; needs test/data/files/tokenizers/)
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from transformers import (
    AutoTokenizer,
    GemmaConfig,
    GemmaForCausalLM,
    GemmaForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

TEST = Path(__file__).resolve().parents[2]
TOKENIZERS = TEST / "data" / "files" / "tokenizers"
OUTPUT = TEST / "cli" / "files"

TEXTS = ["The film was a quiet delight.", " leading space", "naïve café 日本 👩‍👩‍👧", "a", "Numbers like 1234 and 3.14159!"]
PROMPT_RESPONSES = [("Why is the sea blue?", "Because of the sky."), ("Hi", "  spaced out  "), ("One\ntwo", "three\n\nfour")]
MESSAGES = [
    [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello, friend!"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
]
INPUT_IDS = [[5], [3, 1, 4, 1, 5, 9, 2, 6], [2, 2, 2]]


def gpt2(tokenizer, **extra):
    end = tokenizer.eos_token_id
    sizes = dict(vocab_size=len(tokenizer) + 3, n_positions=48, n_embd=16, n_layer=1, n_head=2)
    return GPT2Config(**sizes, bos_token_id=end, eos_token_id=end, pad_token_id=end, **extra)


def llama(tokenizer, **extra):
    sizes = dict(vocab_size=len(tokenizer) + 1, hidden_size=16, intermediate_size=24, num_hidden_layers=2, max_position_embeddings=96)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, rope_theta=500000.0)
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|end_of_text|>")]
    return LlamaConfig(**sizes, **heads, bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=0, **extra)


def gemma(tokenizer, **extra):
    sizes = dict(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1, max_position_embeddings=96)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=10)
    return GemmaConfig(**sizes, **heads, bos_token_id=2, eos_token_id=1, pad_token_id=0, **extra)


MODELS = {
    "gpt2-reward": ("gpt2", lambda tokenizer: GPT2ForSequenceClassification(gpt2(tokenizer, num_labels=1))),
    "gpt2-policy": ("gpt2", lambda tokenizer: GPT2LMHeadModel(gpt2(tokenizer))),
    "llama-reward": ("llama3", lambda tokenizer: LlamaForSequenceClassification(llama(tokenizer, num_labels=3))),
    "llama-policy": ("llama3", lambda tokenizer: LlamaForCausalLM(llama(tokenizer))),
    "gemma-ensemble": ("gemma", lambda tokenizer: GemmaForSequenceClassification(gemma(tokenizer, num_labels=10))),
    "gemma-policy": ("gemma", lambda tokenizer: GemmaForCausalLM(gemma(tokenizer))),
}


def randomise(model, seed):
    """Large enough weights that scores differ and greedy choices are no ties."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        scale = 0.3 if parameter.dim() > 1 else 0.1
        shift = parameter.data if parameter.dim() == 1 else 0.0
        parameter.data = shift + scale * torch.randn(parameter.shape, generator=generator)
    model.tie_weights()
    return model.eval()


def chat_ids(tokenizer, messages):
    """Template text without a generation prompt; its BOS is removed where the tokenizer adds one itself."""
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    adds_bos = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return tokenizer(text.removeprefix(tokenizer.bos_token) if adds_bos else text)["input_ids"]


def input_rows(tokenizer):
    """(input line, ids) of every form that the tokenizer can serve."""
    rows = [({"text": text}, tokenizer(text)["input_ids"]) for text in TEXTS]
    rows += [({"input_ids": ids}, ids) for ids in INPUT_IDS]
    for prompt, response in PROMPT_RESPONSES:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = chat_ids(tokenizer, messages) if tokenizer.chat_template else tokenizer(prompt + response)["input_ids"]
        rows.append(({"prompt": prompt, "response": response}, ids))
    rows += [({"messages": messages}, chat_ids(tokenizer, messages)) for messages in MESSAGES if tokenizer.chat_template]
    return rows


@torch.no_grad()
def expected_scores(model, tokenizer):
    rows = []
    for line, ids in input_rows(tokenizer):
        # The head at the last id: transformers itself would step over trailing padding ids.
        hidden = model.base_model(torch.tensor([ids])).last_hidden_state
        scores = model.score(hidden[0, -1]).double()
        std = scores.std().item() if len(scores) > 1 else None
        rows.append({"input": line, "scores": scores.tolist(), "mean": scores.mean().item(), "std": std})
    return rows


@torch.no_grad()
def expected_answers(model, tokenizer, new_tokens=12):
    rows = []
    for line, ids in [row for row in input_rows(tokenizer) if "text" in row[0] or "input_ids" in row[0]]:
        tensor = torch.tensor([ids])
        whole = model.generate(tensor, attention_mask=torch.ones_like(tensor), max_new_tokens=new_tokens, do_sample=False)
        response = whole[0, len(ids) :].tolist()
        logprobs = model(tensor).logits[0].log_softmax(-1)[:-1].gather(1, tensor[0, 1:, None])[:, 0].tolist()
        text = tokenizer.decode(response, skip_special_tokens=True)
        rows.append({"input": line, "response_ids": response, "text": text, "logprobs": logprobs})
    return rows


def main():
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for seed, (name, (shape, create)) in enumerate(MODELS.items()):
        tokenizer = AutoTokenizer.from_pretrained(TOKENIZERS / shape)
        model = randomise(create(tokenizer), seed)
        folder = OUTPUT / name
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        rows = expected_scores(model, tokenizer) if hasattr(model, "score") else expected_answers(model, tokenizer)
        (folder / "expected.json").write_text(json.dumps(rows, indent=1) + "\n")
    stamp = {"transformers": transformers.__version__, "torch": torch.__version__}
    (OUTPUT / "stamp.json").write_text(json.dumps(stamp) + "\n")


if __name__ == "__main__":
    main()
