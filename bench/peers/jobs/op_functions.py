"""The operations of bench/ops in plain PyTorch: what transformers and TRL run, or the library's own function where there is one."""

from dataclasses import dataclass
from typing import Callable

import torch
from torch.nn import functional as F


@dataclass
class Case:
    function: Callable  # (*inputs) -> results
    inputs: list
    differentiable: bool = True
    checked: Callable | None = None  # what is compared where two draws cannot be


def rms_norm(case, dtype, normal):
    """transformers' GemmaRMSNorm."""

    def function(x, weight):
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return [(normed * (1.0 + weight.float())).type_as(x)]

    shape = (case["tokens"], case["hidden"])
    return Case(function, [normal(shape, 1).to(dtype), (normal(shape[1:], 2) * 0.1).to(dtype)])


def layer_norm(case, dtype, normal):
    shape = (case["tokens"], case["hidden"])
    inputs = [normal(shape, 1), normal(shape[1:], 2) * 0.1 + 1.0, normal(shape[1:], 3) * 0.1]
    return Case(lambda x, weight, bias: [F.layer_norm(x, shape[1:], weight, bias, 1e-5)], [tensor.to(dtype) for tensor in inputs])


def rotary(case, dtype, normal):
    """transformers' apply_rotary_pos_emb; cosines and sines are ready, as they are once per forward there."""
    tokens, dim, longest = case["tokens"], case["head_dim"], case["positions"]
    frequencies = torch.exp(torch.arange(dim // 2).float() * (-2.0 * torch.log(torch.tensor(10000.0)) / dim))
    angles = (torch.arange(tokens) % longest).float()[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    cos, sin = angles.cos().to(dtype)[:, None], angles.sin().to(dtype)[:, None]

    def function(x):
        a, b = x.chunk(2, -1)
        return [x * cos + torch.cat([-b, a], -1) * sin]

    return Case(function, [normal((tokens, case["heads"], dim), 1).to(dtype)])


def embedding(case, dtype, normal):
    ids = torch.arange(case["tokens"]).square() % case["vocab"]
    return Case(lambda weight: [F.embedding(ids, weight)], [normal((case["vocab"], case["width"]), 1).to(dtype)])


def geglu(case, dtype, normal):
    shape = (case["tokens"], case["intermediate"])
    inputs = [normal(shape, 1).to(dtype), normal(shape, 2).to(dtype)]
    return Case(lambda gate, up: [F.gelu(gate, approximate="tanh") * up], inputs)


def activation_backward(case, dtype, normal):
    """What autograd runs behind gelu(addmm(bias, x, weight)) before its matrix products."""

    def function(grad_y, u):
        grad_u = torch.ops.aten.gelu_backward(grad_y, u, approximate="tanh")
        return [grad_u, grad_u.sum(0)]

    shape = (case["tokens"], case["intermediate"])
    return Case(function, [normal(shape, 1).to(dtype), normal(shape, 2).to(dtype)], differentiable=False)


def projection_inputs(case, dtype, normal):
    x, weight = normal((case["tokens"], case["in"]), 1), normal((case["out"], case["in"]), 2) * 0.02
    return [x.to(dtype), weight.to(dtype)]


def matmul(case, dtype, normal):
    return Case(lambda x, weight: [F.linear(x, weight)], projection_inputs(case, dtype, normal), differentiable=False)


def linear(case, dtype, normal):
    bias, residual = normal((case["out"],), 3) * 0.02, normal((case["tokens"], case["out"]), 4)
    inputs = [*projection_inputs(case, dtype, normal), bias.to(dtype), residual.to(dtype)]
    return Case(lambda x, weight, bias, residual: [F.linear(x, weight, bias) + residual], inputs)


def gated_linear(case, dtype, normal):
    """transformers' GemmaMLP without its last projection."""
    shape = (case["intermediate"], case["in"])
    inputs = [normal((case["tokens"], case["in"]), 1), normal(shape, 2) * 0.02, normal(shape, 3) * 0.02]

    def function(x, gate, up):
        return [F.gelu(F.linear(x, gate), approximate="tanh") * F.linear(x, up)]

    return Case(function, [tensor.to(dtype) for tensor in inputs])


def token_logprob(case, dtype, normal):
    """TRL's logprobs_from_logits on the LM head's output."""
    tokens, hidden, vocab = case["tokens"], case["hidden"], case["vocab"]
    targets = torch.arange(tokens) * 7919 % vocab

    def function(x, weight):
        logprobs = F.log_softmax(F.linear(x, weight), -1)
        return [logprobs.gather(-1, targets[:, None]).squeeze(-1).float()]

    return Case(function, [normal((tokens, hidden), 1).to(dtype), (normal((vocab, hidden), 2) * 0.02).to(dtype)])


def multi_head(case, dtype, normal):
    rows, stride = case["rows"], case["row_tokens"]
    index = torch.arange(1, rows + 1) * stride - 1
    inputs = [normal((rows * stride, case["hidden"]), 1), normal((case["heads"], case["hidden"]), 2) * 0.02]
    return Case(lambda x, weight: [F.linear(x[index], weight).float()], [tensor.to(dtype) for tensor in inputs])


def sample(case, dtype, normal):
    def draw(logits):
        return [torch.multinomial(torch.softmax(logits.float(), -1), 1)]

    inputs = [normal((case["rows"], case["vocab"]), 1).to(dtype)]
    return Case(draw, inputs, differentiable=False, checked=lambda logits: [logits.argmax(-1)])


def packed_attention(case, dtype, normal):
    """scaled_dot_product_attention on padded rows; unpadding is not counted."""
    lengths, heads, kv_heads, dim = case["lengths"], case["heads"], case["kv_heads"], case["head_dim"]
    tokens, longest = sum(lengths), max(lengths)
    slots = torch.cat([row * longest + torch.arange(length) for row, length in enumerate(lengths)])

    def padded(x):
        spread = x.new_zeros(len(lengths) * longest, *x.shape[1:]).index_copy(0, slots, x)
        return spread.view(len(lengths), longest, *x.shape[1:]).transpose(1, 2)

    def function(q, k, v):
        out = F.scaled_dot_product_attention(padded(q), padded(k), padded(v), is_causal=True, enable_gqa=True)
        return [out.transpose(1, 2).reshape(-1, heads, dim)[slots]]

    shapes = [(tokens, heads, dim), (tokens, kv_heads, dim), (tokens, kv_heads, dim)]
    return Case(function, [normal(shape, seed).to(dtype) for seed, shape in enumerate(shapes, 1)])


def cached_attention(case, dtype, normal):
    rows, heads, kv_heads, dim = case["rows"], case["heads"], case["kv_heads"], case["head_dim"]

    def function(q, k, v):
        return [F.scaled_dot_product_attention(q[:, :, None], k.transpose(1, 2), v.transpose(1, 2), enable_gqa=True).squeeze(2)]

    cache = (rows, case["capacity"], kv_heads, dim)
    inputs = [normal((rows, heads, dim), 1), normal(cache, 2), normal(cache, 3)]
    return Case(function, [tensor.to(dtype) for tensor in inputs], differentiable=False)


def bradley_terry(case, dtype, normal):
    shape = (case["pairs"], case["heads"])

    def function(chosen, rejected):
        chosen, rejected = chosen.detach().requires_grad_(), rejected.detach().requires_grad_()
        losses = -F.logsigmoid(chosen - rejected).mean(0)
        gradients = torch.autograd.grad(losses.sum(), [chosen, rejected])
        return [losses.detach(), (chosen > rejected).float().mean(0), *gradients]

    return Case(function, [normal(shape, 1), normal(shape, 2)], differentiable=False)


def response_mask(batch, time):
    lengths = 1 + torch.arange(batch) * 5 % time
    lengths[0] = time
    return (torch.arange(time) < lengths[:, None]).float(), lengths


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum()


def masked_var(values, mask):
    mean = masked_mean(values, mask)
    count = mask.sum()
    return masked_mean((values - mean) ** 2, mask) * count / (count - 1)


def ppo_loss(case, dtype, normal):
    """PPOTrainer.loss of TRL 0.11 with its statistics, and the gradients."""
    shape = (case["batch"], case["time"])
    mask, _ = response_mask(*shape)

    def function(logprobs, values, old_logprobs, old_values, advantages, returns):
        logprobs, values = logprobs.detach().requires_grad_(), values.detach().requires_grad_()
        clipped = torch.max(torch.min(values, old_values + 0.2), old_values - 0.2)
        errors, clipped_errors = (values - returns) ** 2, (clipped - returns) ** 2
        value_loss = 0.5 * masked_mean(torch.max(errors, clipped_errors), mask)
        ratio = torch.exp(logprobs - old_logprobs)
        plain, bounded = -advantages * ratio, -advantages * torch.clamp(ratio, 0.8, 1.2)
        policy_loss = masked_mean(torch.max(plain, bounded), mask)
        loss = policy_loss + 0.1 * value_loss
        if masked_mean(ratio, mask).item() > 10.0:
            loss = loss * 0.0
        gradients = torch.autograd.grad(loss, [logprobs, values])
        with torch.no_grad():
            statistics(logprobs, values, old_logprobs, old_values, advantages, returns, (plain, bounded, errors, clipped_errors))
        return [policy_loss.detach(), value_loss.detach(), *gradients]

    def statistics(logprobs, values, old_logprobs, old_values, advantages, returns, parts):
        plain, bounded, errors, clipped_errors = parts
        for value in (
            masked_mean((bounded > plain).float(), mask),
            masked_mean((clipped_errors > errors).float(), mask),
            0.5 * masked_mean((logprobs - old_logprobs) ** 2, mask),
            masked_mean(old_logprobs - logprobs, mask),
            masked_mean(advantages, mask),
            masked_mean(returns, mask),
            masked_var(returns, mask),
            masked_mean(values, mask),
            masked_mean((values - returns) ** 2, mask),
            masked_mean(old_values, mask),
            masked_var(old_values, mask),
        ):
            value.item()

    old_logprobs, old_values = normal(shape, 1), normal(shape, 3)
    logprobs, values = old_logprobs + normal(shape, 2) * 0.3, old_values + normal(shape, 4) * 0.3
    inputs = [logprobs, values, old_logprobs, old_values, normal(shape, 5), normal(shape, 6)]
    return Case(function, inputs, differentiable=False)


def variance_kl_advantage(case, dtype, normal):
    """compute_rewards and compute_advantages of TRL 0.11, with a KL weight per row, but without its loop over the rows."""
    shape = batch, time = case["batch"], case["time"]
    mask, lengths = response_mask(batch, time)
    rows = torch.arange(batch)

    def function(logprobs, ref_logprobs, values, scores, weights):
        kl = (logprobs - ref_logprobs) * mask
        rewards = -weights[:, None] * kl
        rewards = rewards.index_put((rows, lengths - 1), scores, accumulate=True) * mask
        values, last, columns = values * mask, 0.0, []
        for t in reversed(range(time)):
            following = values[:, t + 1] if t < time - 1 else 0.0
            last = rewards[:, t] + following - values[:, t] + 0.95 * last
            columns.append(last)
        advantages = torch.stack(columns[::-1]).transpose(0, 1)
        returns = (advantages + values) * mask
        mean, variance = masked_mean(advantages, mask), masked_var(advantages, mask)
        return [rewards, (advantages - mean) * torch.rsqrt(variance + 1e-8) * mask, returns, kl]

    inputs = [normal(shape, 1), normal(shape, 2), normal(shape, 3), normal((batch,), 4), (normal((batch,), 5) * 0.1).abs()]
    return Case(function, inputs, differentiable=False)


def adamw(case, dtype, normal):
    """torch.optim.AdamW(fused=True); bf16 weights have an fp32 master beside them, as mixed precision keeps it."""
    master = torch.nn.Parameter(normal((case["parameters"],), 1))
    gradient = (normal((case["parameters"],), 2) * 0.1).to(dtype)
    weights = master.detach() if dtype == torch.float32 else master.detach().to(dtype)
    optimizer = torch.optim.AdamW([master], lr=1e-3, weight_decay=0.0, fused=True)

    def function():
        master.grad = gradient if dtype == torch.float32 else gradient.float()
        optimizer.step()
        if dtype != torch.float32:
            with torch.no_grad():
                weights.copy_(master)
        state = optimizer.state[master]
        return [weights, state["exp_avg"], state["exp_avg_sq"]]

    return Case(function, [], differentiable=False)


def global_norm(case, dtype, normal):
    """The norm of torch.nn.utils.clip_grad_norm_, in front of its clipping."""
    inputs = [(normal((case["items"],), seed) * 0.1).to(dtype) for seed in range(1, case["tensors"] + 1)]
    return Case(lambda *tensors: [torch.nn.utils.get_total_norm(tensors)], inputs, differentiable=False)


CASES = {
    function.__name__: function
    for function in (
        rms_norm, layer_norm, rotary, embedding, geglu, activation_backward, matmul, linear, gated_linear, token_logprob,
        multi_head, sample, packed_attention, cached_attention, bradley_terry, ppo_loss, variance_kl_advantage, adamw, global_norm,
    )
}  # fmt: skip
