"""What the peers' jobs share: padding, dtypes, sizes."""

import time
from contextlib import nullcontext

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def timed(body):
    start = time.perf_counter()
    value = body()
    return time.perf_counter() - start, value


def pad_right(rows, pad=0):
    """-> input_ids, attention_mask [rows, longest]"""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask


def pad_left(rows, pad):
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = torch.tensor(row)
        mask[index, longest - len(row) :] = 1
    return ids, mask


def batches(count, size, order=None):
    order = list(range(count)) if order is None else order
    return [order[start : start + size] for start in range(0, count, size)]


def by_length(rows):
    return sorted(range(len(rows)), key=lambda index: -len(rows[index]))


def autocast(enabled):
    return torch.autocast("cpu", dtype=torch.bfloat16) if enabled else nullcontext()


def parameter_bytes(model):
    return sum(p.numel() * p.element_size() for p in model.parameters())


def training_bytes(model):
    """Weights, gradients in the weights' dtype, two moments of an AdamW in the weights' dtype."""
    return 4 * parameter_bytes(model)
