"""Training steps as PyTorch does them: language model, Bradley-Terry, heads on features, and classic TRL's PPO.

Writes test/golden/data/training.json: for each case the inputs, and what ten steps (PPO: one step) give.
Run: python test/golden/generators/training.py
"""

import json
import math
from pathlib import Path

import numpy
import torch
import transformers

from training_models import CONFIGS, causal_model, classifier, hash_uniform
from training_trl import TrlPpo

OUTPUT = Path(__file__).resolve().parents[1] / "data" / "training.json"
# Parameters without a true gradient (the key bias of attention) would turn rounding noise into full-size Adam updates with
# eps 1e-8, in PyTorch itself from one machine to the next.
EPS = 1e-5


def token_rows(label: str, vocab: int, lengths: list[int]) -> list[list[int]]:
    values = ((hash_uniform(label, sum(lengths)) * 0.5 + 0.5) * vocab).astype(int).clip(0, vocab - 1).tolist()
    rows, start = [], 0
    for length in lengths:
        rows.append(values[start : start + length])
        start += length
    return rows


def summary(tensor: torch.Tensor) -> dict:
    flat = tensor.detach().double().flatten()
    return {"norm": flat.norm().item(), "first": flat[:6].tolist(), "last": flat[-2:].tolist()}


def named(parameters) -> dict:
    return dict(parameters)


def adamw(parameters: dict, lr: float, weight_decay: float) -> torch.optim.AdamW:
    decayed = [p for p in parameters.values() if p.dim() >= 2]
    rest = [p for p in parameters.values() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, eps=EPS)


def train(parameters: dict, loss_of, lr: float, weight_decay: float, max_grad_norm: float, steps: int) -> dict:
    """loss_of(step) -> (loss, extra values to record)."""
    optimizer = adamw(parameters, lr, weight_decay)
    record = {"steps": [], "lr": lr, "weight_decay": weight_decay, "max_grad_norm": max_grad_norm, "eps": EPS}
    for step in range(steps):
        optimizer.zero_grad()
        loss, extra = loss_of(step)
        loss.backward()
        if step == 0:
            record["gradients"] = {name: summary(p.grad) for name, p in parameters.items() if p.grad is not None}
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), max_grad_norm if max_grad_norm > 0 else math.inf)
        optimizer.step()
        record["steps"].append({"loss": loss.item(), "grad_norm": norm.item(), **extra})
    record["parameters"] = {name: summary(p) for name, p in parameters.items()}
    return record


def hidden_states(model, row: list[int]) -> torch.Tensor:
    return model.base_model(torch.tensor([row])).last_hidden_state[0]


def language_model_case(name: str) -> dict:
    model = causal_model(name, seed=1)
    rows = token_rows(f"{name}.lm", model.config.vocab_size, [7, 3, 12, 1, 5])

    def loss_of(_step):
        total, count = torch.zeros(()), 0
        for row in rows:
            if len(row) < 2:
                continue
            logits = model(torch.tensor([row])).logits[0, :-1]
            total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(row[1:]), reduction="sum")
            count += len(row) - 1
        return total / count, {}

    return {"rows": rows, **train(named(model.named_parameters()), loss_of, 3e-3, 0.1, 1.0, 10)}


def reward_case(name: str) -> dict:
    heads = 3
    model = classifier(name, seed=2, heads=heads)
    chosen = token_rows(f"{name}.chosen", model.config.vocab_size, [4, 9, 2, 6, 3])
    rejected = token_rows(f"{name}.rejected", model.config.vocab_size, [5, 1, 7, 6, 3])

    def loss_of(_step):
        margin = torch.stack(
            [model.score(hidden_states(model, c)[-1]) - model.score(hidden_states(model, r)[-1]) for c, r in zip(chosen, rejected)]
        )
        per_head = torch.nn.functional.softplus(-margin).mean(0)
        extra = {"loss_per_head": per_head.tolist(), "accuracy_per_head": (margin > 0).float().mean(0).tolist()}
        return per_head.sum(), extra

    parameters = named(model.named_parameters())
    return {"heads": heads, "chosen": chosen, "rejected": rejected, **train(parameters, loss_of, 3e-3, 0.01, 0.0, 10)}


def heads_case(per_head: bool) -> dict:
    rows, hidden, heads, batch, steps = 40, 12, 10, 8, 10
    features = hash_uniform("features", rows * hidden).reshape(rows, hidden).astype(numpy.float32) * 3
    initial = hash_uniform("heads", heads * hidden).reshape(heads, hidden).astype(numpy.float32) * 0.5
    index = numpy.stack([((hash_uniform(f"index{side}", steps * heads * batch) * 0.5 + 0.5) * rows).astype(int) for side in range(2)])
    index = index.reshape(2, steps, heads, batch)
    if not per_head:
        index[:] = index[:, :, :1, :]
    anchor, clip, lr, decay = 0.05, 0.4, 0.02, 0.01
    x = torch.from_numpy(features)
    weights = [torch.nn.Parameter(torch.from_numpy(initial[n].copy())) for n in range(heads)]
    optimizers = [torch.optim.AdamW([w], lr=lr, weight_decay=decay) for w in weights]
    record = {"loss": [], "accuracy": [], "grad_norm": []}
    for step in range(steps):
        losses, accuracies, norms = [], [], []
        for n, weight in enumerate(weights):
            optimizers[n].zero_grad()
            chosen, rejected = torch.from_numpy(index[0, step, n]), torch.from_numpy(index[1, step, n])
            margin = x[chosen] @ weight - x[rejected] @ weight
            loss = torch.nn.functional.softplus(-margin).mean()
            ridge = anchor / 2 * (weight - torch.from_numpy(initial[n])).square().sum()
            (loss + ridge).backward()
            norms.append(torch.nn.utils.clip_grad_norm_([weight], clip).item())
            optimizers[n].step()
            losses.append(loss.item())
            accuracies.append((x[chosen] != x[rejected]).any(1).logical_and(margin > 0).float().mean().item())
        record["loss"].append(losses)
        record["accuracy"].append(accuracies)
        record["grad_norm"].append(norms)
    return {
        "per_head": per_head, "heads": heads, "hidden": hidden, "anchor": anchor, "max_grad_norm": clip, "lr": lr, "weight_decay": decay,
        "features": features.flatten().tolist(), "initial": initial.flatten().tolist(),
        "chosen": [(index[0, s] if per_head else index[0, s, 0]).flatten().tolist() for s in range(steps)],
        "rejected": [(index[1, s] if per_head else index[1, s, 0]).flatten().tolist() for s in range(steps)],
        **record, "weights": torch.stack(list(weights)).flatten().tolist(),
    }


def ppo_case(name: str, settings: dict) -> dict:
    policy, reference = causal_model(name, seed=3, value_head=True), causal_model(name, seed=4)
    vocab = policy.config.vocab_size
    queries = token_rows(f"{name}.queries", vocab, [2, 5, 3, 7, 2, 4, 6, 3])
    responses = token_rows(f"{name}.responses", vocab, [6, 6, 1, 4, 6, 2, 5, 6])
    scores = (hash_uniform(f"{name}.scores", 8) * 2).astype(numpy.float32).tolist()
    kl_weights = (hash_uniform(f"{name}.weights", 8) * 0.1 + 0.15).astype(numpy.float32).tolist()
    options = {"ppo_epochs": 3, "mini_batch_size": 3, "lr": 2e-3, "eps": EPS, **settings}
    epochs = [numpy.argsort(hash_uniform(f"{name}.epoch{e}", 8)).tolist() for e in range(options["ppo_epochs"])]
    trl = TrlPpo(policy, reference, options)
    result = trl.step(queries, responses, scores, kl_weights, epochs)
    return {"model": name, "options": options, "queries": queries, "responses": responses, "scores": scores, "kl_weights": kl_weights,
            "permutations": [row for epoch in epochs for row in epoch], **result,
            "parameters": {n: summary(p) for n, p in policy.named_parameters()}}


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = list(CONFIGS)
    golden = {
        "environment": {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": numpy.__version__},
        "configs": CONFIGS,
        "language_model": {name: language_model_case(name) for name in names},
        "reward": {name: reward_case(name) for name in names},
        "heads": [heads_case(False), heads_case(True)],
        "ppo": [
            ppo_case("gpt2", {"kl_penalty": "kl"}),
            ppo_case("gpt2", {"kl_penalty": "full", "whiten_rewards": True, "mini_batch_size": 8, "ppo_epochs": 4}),
            ppo_case("gpt2", {"kl_penalty": "kl", "ratio_threshold": 1.02, "lr": 1e-2}),
            ppo_case("gpt2", {"kl_penalty": "kl", "early_stopping": True, "target_kl": 1e-4, "ppo_epochs": 4, "lr": 1e-2}),
            ppo_case("llama", {"kl_penalty": "mse", "gamma": 0.98, "lam": 0.9}),
            ppo_case("gemma", {"kl_penalty": "abs", "vf_coef": 0.5, "cliprange": 0.05, "cliprange_value": 0.01}),
        ],
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
