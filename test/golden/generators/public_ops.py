"""Golden numbers of the public operations: plain numpy in float64, written from classic TRL's algorithm and from the definition
of the Bradley-Terry loss, not from our code. Gradients are central differences.

python test/golden/generators/public_ops.py > test/golden/data/kernels.json
(Not kernels.py: transformers looks for a Python package of that name, and would take this one.)
"""

import json
import sys

import numpy as np

STEP = 1e-6
rng = np.random.default_rng(20)


def single(x):
    """Inputs are fp32 numbers, so that both sides compute from the same."""
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def mask_of(lengths, time):
    return (np.arange(time)[None, :] < np.asarray(lengths)[:, None]).astype(np.float64)


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum()


def masked_var(values, mask):
    count = mask.sum()
    return masked_mean((values - masked_mean(values, mask)) ** 2, mask) * count / (count - 1) if count > 1 else 0.0


def masked_whiten(values, mask, shift_mean=True):
    mean, variance = masked_mean(values, mask), masked_var(values, mask)
    whitened = (values - mean) / np.sqrt(variance + 1e-8)
    return whitened if shift_mean else whitened + mean


def kl_penalty(logprobs, ref_logprobs, full, kind):
    if kind == "kl":
        return logprobs - ref_logprobs
    if kind == "abs":
        return np.abs(logprobs - ref_logprobs)
    if kind == "mse":
        return 0.5 * np.square(logprobs - ref_logprobs)
    return full


def variance_kl_advantage(case):
    mask = mask_of(case["responseLengths"], case["shape"][1])
    kl = kl_penalty(case["logprobs"], case["refLogprobs"], case["klPerToken"], case["klPenalty"])
    rewards = -case["klWeights"][:, None] * kl
    for row, length in enumerate(case["responseLengths"]):
        rewards[row, length - 1] += case["scores"][row]
    values, rewards = case["values"] * mask, rewards * mask
    if case["whitenRewards"]:
        rewards = masked_whiten(rewards, mask, shift_mean=False) * mask
    last, backwards, time = 0.0, [], rewards.shape[1]
    for t in reversed(range(time)):
        next_values = values[:, t + 1] if t < time - 1 else 0.0
        delta = rewards[:, t] + case["gamma"] * next_values - values[:, t]
        last = delta + case["gamma"] * case["lambda"] * last
        backwards.append(last)
    advantages = np.stack(backwards[::-1], axis=1)
    returns = advantages + values
    if case["whiten"]:
        advantages = masked_whiten(advantages, mask)
    return {"rewards": rewards, "advantages": advantages * mask, "returns": returns * mask, "kl": kl * mask}


def ppo_terms(case, logprobs, values):
    mask = mask_of(case["responseLengths"], case["shape"][1])
    ratio = np.exp((logprobs - case["oldLogprobs"]) * mask)
    policy = -case["advantages"] * ratio
    policy_clipped = -case["advantages"] * np.clip(ratio, 1 - case["clipRange"], 1 + case["clipRange"])
    clipped = np.clip(values, case["oldValues"] - case["clipRangeValue"], case["oldValues"] + case["clipRangeValue"])
    value, value_clipped = (values - case["returns"]) ** 2, (clipped - case["returns"]) ** 2
    policy_loss = masked_mean(np.maximum(policy, policy_clipped), mask)
    value_loss = 0.5 * masked_mean(np.maximum(value, value_clipped), mask)
    if masked_mean(ratio, mask) > case["ratioThreshold"]:
        policy_loss, value_loss = 0.0, 0.0
    statistics = {
        "approxKl": 0.5 * masked_mean((logprobs - case["oldLogprobs"]) ** 2, mask),
        "policyKl": masked_mean(case["oldLogprobs"] - logprobs, mask),
        "clipFraction": masked_mean(policy_clipped > policy, mask),
        "valueClipFraction": masked_mean(value_clipped > value, mask),
        "ratioMean": masked_mean(ratio, mask),
        "advantagesMean": masked_mean(case["advantages"], mask),
        "returnsMean": masked_mean(case["returns"], mask),
        "returnsVar": masked_var(case["returns"], mask),
        "valueMean": masked_mean(values, mask),
        "valueError": masked_mean(value, mask),
    }
    return policy_loss, value_loss, statistics


def differences(function, x):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += STEP
        down[index] -= STEP
        gradient[index] = (function(up) - function(down)) / (2 * STEP)
    return gradient


def ppo_loss(case):
    def total(logprobs, values):
        policy, value, _ = ppo_terms(case, logprobs, values)
        return policy + case["vfCoef"] * value

    policy_loss, value_loss, statistics = ppo_terms(case, case["logprobs"], case["values"])
    return {
        "policyLoss": policy_loss,
        "valueLoss": value_loss,
        "loss": policy_loss + case["vfCoef"] * value_loss,
        "gradLogprobs": differences(lambda x: total(x, case["values"]), case["logprobs"]),
        "gradValues": differences(lambda x: total(case["logprobs"], x), case["values"]),
        "stats": statistics,
    }


def bradley_terry(case):
    def per_head(chosen, rejected):
        return -np.log(1.0 / (1.0 + np.exp(-(chosen - rejected)))).mean(axis=0)

    chosen, rejected = case["chosen"], case["rejected"]
    return {
        "loss": per_head(chosen, rejected).sum(),
        "lossPerHead": per_head(chosen, rejected),
        "accuracyPerHead": (chosen > rejected).mean(axis=0),
        "gradChosen": differences(lambda x: per_head(x, rejected).sum(), chosen),
        "gradRejected": differences(lambda x: per_head(chosen, x).sum(), rejected),
    }


def lengths_for(batch, time):
    lengths = rng.integers(1, time + 1, size=batch)
    lengths[0] = time
    return lengths.tolist()


def advantage_cases():
    for batch, time, kind, whiten, whiten_rewards in (
        (1, 1, "kl", False, False),
        (1, 7, "kl", True, False),
        (5, 9, "kl", True, False),
        (5, 9, "abs", False, False),
        (4, 6, "mse", True, True),
        (6, 5, "full", True, False),
        (3, 1, "kl", False, True),
    ):
        sigma = rng.uniform(0.1, 2.0, size=batch)
        yield {
            "shape": [batch, time],
            "logprobs": single(rng.normal(-2, 1, size=(batch, time))),
            "refLogprobs": single(rng.normal(-2, 1, size=(batch, time))),
            "values": single(rng.normal(size=(batch, time))),
            "scores": single(rng.normal(size=batch)),
            "klWeights": single(0.2 * sigma),
            "responseLengths": lengths_for(batch, time),
            "klPerToken": single(rng.uniform(0, 1, size=(batch, time))),
            "gamma": 1.0 if kind == "kl" else 0.97,
            "lambda": 0.95,
            "whiten": whiten,
            "whitenRewards": whiten_rewards,
            "klPenalty": kind,
        }


def ppo_cases():
    for batch, time, spread, threshold in ((1, 1, 0.3, 10.0), (1, 6, 0.3, 10.0), (5, 8, 0.4, 10.0), (4, 3, 0.01, 10.0), (3, 4, 0.3, 0.5)):
        old_logprobs, old_values = rng.normal(-2, 1, size=(batch, time)), rng.normal(size=(batch, time))
        yield {
            "shape": [batch, time],
            "logprobs": single(old_logprobs + rng.normal(0, spread, size=(batch, time))),
            "values": single(old_values + rng.normal(0, spread, size=(batch, time))),
            "oldLogprobs": single(old_logprobs),
            "oldValues": single(old_values),
            "advantages": single(rng.normal(size=(batch, time))),
            "returns": single(rng.normal(size=(batch, time))),
            "responseLengths": lengths_for(batch, time),
            "clipRange": 0.2,
            "clipRangeValue": 0.2,
            "vfCoef": 0.1,
            "ratioThreshold": threshold,
        }


def pair_cases():
    for pairs, heads in ((1, 1), (5, 3), (9, 10)):
        yield {
            "shape": [pairs, heads],
            "chosen": single(rng.normal(0, 2, size=(pairs, heads))),
            "rejected": single(rng.normal(0, 2, size=(pairs, heads))),
        }


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.reshape(-1)]
    if isinstance(value, (bool, str, list)):
        return value
    return float(f"{float(value):.10g}")


def golden(cases, function):
    return [{"input": plain(case), "output": plain(function(case))} for case in cases]


json.dump(
    {
        "environment": {"python": sys.version.split()[0], "numpy": np.__version__},
        "varianceKlAdvantage": golden(advantage_cases(), variance_kl_advantage),
        "ppoLoss": golden(ppo_cases(), ppo_loss),
        "bradleyTerry": golden(pair_cases(), bradley_terry),
    },
    sys.stdout,
    separators=(",", ":"),
)
