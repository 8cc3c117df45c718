"""Whole PPO steps as a good engineer writes them in eager PyTorch: bf16 autocast, one generate() for the batch, LM head at
response positions only, no entropy pass, fused Adam. The arithmetic is classic TRL's.
"""

import torch
from transformers import AutoModelForCausalLM

from jobs.common import autocast, pad_left, parameter_bytes, timed, training_bytes


def masked_whiten(values):
    return (values - values.mean()) * torch.rsqrt(values.var() + 1e-8)


class EagerPpo:
    def __init__(self, folder, prompts, scores, new_tokens, kl_coef, lr, bf16):
        self.policy = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.reference = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.policy.generation_config.eos_token_id = None
        self.value_head = torch.nn.Linear(self.policy.config.n_embd, 1)
        self.load_value_head(folder)
        trained = [*self.policy.parameters(), *self.value_head.parameters()]
        self.optimizer = torch.optim.Adam(trained, lr=lr, fused=True)
        self.ids, self.mask = pad_left(prompts, self.policy.config.vocab_size - 1)
        self.scores, self.new_tokens, self.kl_coef, self.bf16 = torch.tensor(scores), new_tokens, kl_coef, bf16
        self.held = training_bytes(self.policy) + parameter_bytes(self.reference)

    def load_value_head(self, folder):
        from safetensors import safe_open

        with safe_open(f"{folder}/model.safetensors", "pt") as file, torch.no_grad():
            self.value_head.weight.copy_(file.get_tensor("v_head.summary.weight"))
            self.value_head.bias.copy_(file.get_tensor("v_head.summary.bias"))

    @torch.no_grad()
    def generate(self, **sampling):
        with autocast(self.bf16):
            return self.policy.generate(
                input_ids=self.ids, attention_mask=self.mask, max_new_tokens=self.new_tokens,
                pad_token_id=self.policy.config.vocab_size - 1, **sampling,
            )  # fmt: skip

    def logprobs_and_values(self, model, sequences):
        """At response positions alone: [rows, new_tokens] each."""
        width = self.ids.shape[1]
        mask = torch.cat([self.mask, torch.ones(len(sequences), self.new_tokens, dtype=torch.long)], 1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with autocast(self.bf16):
            hidden = model.transformer(
                input_ids=sequences, attention_mask=mask, position_ids=positions, use_cache=False
            ).last_hidden_state[:, width - 1 : -1]
            logits = model.lm_head(hidden)
        logprobs = -torch.nn.functional.cross_entropy(
            logits.float().transpose(1, 2), sequences[:, width:], reduction="none"
        )
        return logprobs, self.value_head(hidden.float()).squeeze(-1)

    def advantages(self, rewards, values):
        last, columns = torch.zeros(len(rewards)), []
        for t in reversed(range(rewards.shape[1])):
            following = values[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
            last = rewards[:, t] + following - values[:, t] + 0.95 * last
            columns.append(last)
        advantages = torch.stack(columns[::-1], 1)
        return masked_whiten(advantages), advantages + values

    def loss(self, sequences, old, old_values, advantages, returns, stats):
        logprobs, values = self.logprobs_and_values(self.policy, sequences)
        ratio = torch.exp(logprobs - old)
        policy = torch.max(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2)).mean()
        clipped = torch.clamp(values, old_values - 0.2, old_values + 0.2)
        value = 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2).mean()
        with torch.no_grad():
            difference = old - logprobs
            stats["policyLoss"].append(policy.item())
            stats["valueLoss"].append(value.item())
            stats["policykl"].append(difference.mean().item())
            stats["approxkl"].append(0.5 * (difference**2).mean().item())
            stats["vpred"].append(values.mean().item())
            stats["error"].append(((values - returns) ** 2).mean().item())
        return policy + 0.1 * value

    def update(self, sequences):
        with torch.no_grad():
            old, old_values = self.logprobs_and_values(self.policy, sequences)
            ref, _ = self.logprobs_and_values(self.reference, sequences)
            rewards = -self.kl_coef * (old - ref)
            rewards[:, -1] += self.scores
            advantages, returns = self.advantages(rewards, old_values)
        stats = {name: [] for name in ("policyLoss", "valueLoss", "policykl", "approxkl", "vpred", "error")}
        for _ in range(4):
            loss = self.loss(sequences, old, old_values, advantages, returns, stats)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return {name: sum(values) / len(values) for name, values in stats.items()}, returns

    def check(self):
        sequences = self.generate(do_sample=False)
        stats, returns = self.update(sequences)
        result = {
            "valueLoss": [stats["valueLoss"]],
            "returns": [returns.mean().item(), returns.var().item()],
            "values": [stats["vpred"], stats["error"]],
            "policyKl": [stats["policykl"], stats["approxkl"]],
            "policyLoss": [stats["policyLoss"]],
        }
        return result if self.bf16 else {**result, "tokens": sequences[:, self.ids.shape[1] :].flatten().tolist()}

    def run(self):
        rollout, sequences = timed(lambda: self.generate(do_sample=True, top_k=0, top_p=1.0))
        update, _ = timed(lambda: self.update(sequences))
        tokens = len(self.ids) * self.new_tokens
        return {"seconds": rollout + update, "rolloutSeconds": rollout, "updateSeconds": update, "tokens": tokens}


load = EagerPpo
