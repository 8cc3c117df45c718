"""One step of classic TRL's PPOTrainer (0.8 to 0.11), from its algorithm: padded batches, masks, whitening, statistics."""

import torch


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum()


def masked_var(values, mask):
    centred = values - masked_mean(values, mask)
    variance = masked_mean(centred**2, mask)
    count = mask.sum()
    return variance * count / (count - 1)


def masked_whiten(values, mask, shift_mean=True):
    mean, var = masked_mean(values, mask), masked_var(values, mask)
    whitened = (values - mean) * torch.rsqrt(var + 1e-8)
    return whitened if shift_mean else whitened + mean


def clip_by_value(x, low, high):
    return torch.max(torch.min(x, high), low)


DEFAULTS = {"kl_penalty": "kl", "gamma": 1.0, "lam": 0.95, "cliprange": 0.2, "cliprange_value": 0.2, "vf_coef": 0.1,
            "ratio_threshold": 10.0, "whiten_rewards": False, "early_stopping": False, "target_kl": 1.0}


class TrlPpo:
    def __init__(self, policy, reference, options):
        self.policy, self.reference = policy, reference
        self.options = options
        for key, value in DEFAULTS.items():
            options.setdefault(key, value)
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=options["lr"], eps=options["eps"])

    def forward(self, model, ids, attention):
        output = model(input_ids=ids, attention_mask=attention, output_hidden_states=True)
        values = None
        if hasattr(model, "v_head"):
            values = model.v_head.summary(output.hidden_states[-1]).squeeze(-1)[:, :-1]
        logits = output.logits[:, :-1]
        logprobs = torch.log_softmax(logits, -1)
        chosen = logprobs.gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
        return chosen, values, logprobs

    def compute_rewards(self, scores, logprobs, ref_logprobs, full, ref_full, masks, kl_weights):
        penalty = self.options["kl_penalty"]
        if penalty == "kl":
            kl = logprobs - ref_logprobs
        elif penalty == "abs":
            kl = (logprobs - ref_logprobs).abs()
        elif penalty == "mse":
            kl = 0.5 * (logprobs - ref_logprobs).square()
        else:
            kl = torch.nn.functional.kl_div(ref_full, full, log_target=True, reduction="none").sum(-1)
        non_score = -kl_weights.unsqueeze(1) * kl
        rewards = non_score.clone()
        for row, mask in enumerate(masks):
            rewards[row, mask.nonzero()[-1]] += scores[row]
        return rewards, non_score, kl

    def compute_advantages(self, values, rewards, mask):
        values, rewards = values * mask, rewards * mask
        if self.options["whiten_rewards"]:
            # Masked again: TRL lets the whitened padding leak into the advantages, so that they depend on the padded width.
            rewards = masked_whiten(rewards, mask, shift_mean=False) * mask
        last, reversed_advantages = 0, []
        length = rewards.shape[-1]
        for t in reversed(range(length)):
            next_values = values[:, t + 1] if t < length - 1 else 0.0
            delta = rewards[:, t] + self.options["gamma"] * next_values - values[:, t]
            last = delta + self.options["gamma"] * self.options["lam"] * last
            reversed_advantages.append(last)
        advantages = torch.stack(reversed_advantages[::-1]).transpose(0, 1)
        returns = advantages + values
        return values, masked_whiten(advantages, mask), returns

    def loss(self, old_logprobs, values, full, vpreds, logprobs, mask, advantages, returns):
        o = self.options
        clipped = clip_by_value(vpreds, values - o["cliprange_value"], values + o["cliprange_value"])
        vf1, vf2 = (vpreds - returns) ** 2, (clipped - returns) ** 2
        vf_loss = 0.5 * masked_mean(torch.max(vf1, vf2), mask)
        ratio = torch.exp(logprobs - old_logprobs)
        pg1 = -advantages * ratio
        pg2 = -advantages * torch.clamp(ratio, 1.0 - o["cliprange"], 1.0 + o["cliprange"])
        pg_loss = masked_mean(torch.max(pg1, pg2), mask)
        loss = pg_loss + o["vf_coef"] * vf_loss
        average_ratio = masked_mean(ratio, mask).item()
        if average_ratio > o["ratio_threshold"]:
            pg_loss, vf_loss, loss = pg_loss * 0.0, vf_loss * 0.0, loss * 0.0
        entropy = -(full.exp() * full).sum(-1)
        stats = {
            "loss/policy": pg_loss, "loss/value": vf_loss, "loss/total": loss,
            "policy/entropy": masked_mean(entropy, mask),
            "policy/approxkl": 0.5 * masked_mean((logprobs - old_logprobs) ** 2, mask),
            "policy/policykl": masked_mean(old_logprobs - logprobs, mask),
            "policy/clipfrac": masked_mean(torch.gt(pg2, pg1).float(), mask),
            "policy/advantages_mean": masked_mean(advantages, mask),
            "policy/ratio": masked_mean(ratio, mask),
            "returns/mean": masked_mean(returns, mask), "returns/var": masked_var(returns, mask),
            "val/vpred": masked_mean(vpreds, mask), "val/error": masked_mean((vpreds - returns) ** 2, mask),
            "val/clipfrac": masked_mean(torch.gt(vf2, vf1).float(), mask),
            "val/mean": masked_mean(values, mask), "val/var": masked_var(values, mask),
        }
        return loss, {key: value.item() for key, value in stats.items()}

    def step(self, queries, responses, scores, kl_weights, permutations):
        scores, kl_weights = torch.tensor(scores), torch.tensor(kl_weights)
        rows = [q + r for q, r in zip(queries, responses)]
        width = max(len(row) for row in rows)
        ids, attention = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
        masks = torch.zeros(len(rows), width - 1)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            attention[i, : len(row)] = 1
            masks[i, len(queries[i]) - 1 : len(row) - 1] = 1
        with torch.no_grad():
            logprobs, values, full = self.forward(self.policy, ids, attention)
            ref_logprobs, _, ref_full = self.forward(self.reference, ids, attention)
            rewards, non_score, kls = self.compute_rewards(scores, logprobs, ref_logprobs, full, ref_full, masks, kl_weights)
            values, advantages, returns = self.compute_advantages(values, rewards, masks)

        updates, size = [], self.options["mini_batch_size"]
        for order in permutations:
            for start in range(0, len(rows), size):
                index = torch.tensor(order[start : start + size])
                new_logprobs, vpreds, new_full = self.forward(self.policy, ids[index], attention[index])
                loss, stats = self.loss(
                    logprobs[index], values[index], new_full, vpreds, new_logprobs, masks[index], advantages[index], returns[index]
                )
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                updates.append(stats)
            if self.options["early_stopping"] and updates[-1]["policy/policykl"] > 1.5 * self.options["target_kl"]:
                break

        lengths = [torch.tensor([float(len(r)) for r in side]) for side in (queries, responses)]
        stats = {
            "objective/kl": (kls * masks).sum(-1).mean().item(),
            "objective/entropy": (-logprobs * masks).sum(-1).mean().item(),
            "ppo/mean_non_score_reward": masked_mean(non_score, masks).item(),
            "ppo/mean_scores": scores.mean().item(), "ppo/std_scores": scores.std().item(),
            "tokens/queries_len_mean": lengths[0].mean().item(), "tokens/queries_len_std": lengths[0].std().item(),
            "tokens/responses_len_mean": lengths[1].mean().item(), "tokens/responses_len_std": lengths[1].std().item(),
        }
        for key in updates[0]:
            stats[f"ppo/{key}"] = sum(update[key] for update in updates) / len(updates)
        stats["ppo/val/var_explained"] = 1 - stats["ppo/val/error"] / stats["ppo/returns/var"]
        flat = masks.bool()
        exact_kl = (torch.nn.functional.kl_div(ref_full, full, log_target=True, reduction="none").sum(-1) * masks).sum(-1)
        return {"stats": stats, "updates": len(updates), "losses": [update["loss/total"] for update in updates],
                "logprobs": logprobs[flat].tolist(), "ref_logprobs": ref_logprobs[flat].tolist(), "values": values[flat].tolist(),
                "exact_kl": exact_kl.tolist()}
