"""Single operations as PyTorch users write them: `implementation` 'eager' or 'compile' (torch.compile). Inputs are those of
bench/ops/*.cpp: the same seeds give the same numbers.
"""

import time

import torch
import torch._functorch.config

from jobs.common import DTYPES
from jobs.op_functions import CASES

LEAST_SECONDS = 0.05
CHECKED = 512


def normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def output_weights(outputs):
    return [normal(out.shape, 900 + index).to(out.dtype) for index, out in enumerate(outputs)]


def seconds_per_call(body):
    """As bench/ops/measure.cpp: the mean over as many calls as fill the least time."""
    calls, seconds = 1, measure(body, 1)
    while seconds < LEAST_SECONDS:
        wanted = min(1.2 * calls * LEAST_SECONDS / max(seconds, 1e-7), 100.0 * calls)
        calls = max(calls + 1, int(wanted) + 1)
        seconds = measure(body, calls)
    return seconds / calls


def measure(body, calls):
    start = time.perf_counter()
    for _ in range(calls):
        body()
    return time.perf_counter() - start


class Op:
    def __init__(self, case, implementation, **options):
        self.kind = options["pass"]
        self.case = CASES[case["op"]](case, DTYPES[case["dtype"]], normal)
        self.function = self.case.function
        if implementation == "compile":
            torch._dynamo.reset()
            # A backward that is timed by itself keeps its graph, so its buffers cannot be given away.
            torch._functorch.config.donated_buffer = self.kind != "backward"
            self.function = torch.compile(self.function, dynamic=False)
        self.held = sum(tensor.nbytes for tensor in self.case.inputs)
        # Beside them, what every implementation must give: a gradient of each.
        if self.case.differentiable and self.kind != "forward":
            self.held *= 2
        self.body = None

    def leaves(self):
        return [tensor.detach().requires_grad_() for tensor in self.case.inputs]

    def check(self):
        if not self.case.differentiable:
            results = (self.case.checked or self.function)(*self.case.inputs)
        else:
            leaves = self.leaves()
            results = self.function(*leaves)
            results = [*results, *torch.autograd.grad(results, leaves, output_weights(results))]
        return {f"result{index}": self.spread(result) for index, result in enumerate(results)}

    @staticmethod
    def spread(tensor):
        flat = tensor.detach().double().contiguous().view(-1)
        return flat[:: max(1, flat.numel() // CHECKED)].tolist()

    def make_body(self):
        if not self.case.differentiable:
            return lambda: self.function(*self.case.inputs)
        if self.kind == "forward":
            return self.without_graph
        leaves = self.leaves()
        outputs = self.function(*leaves)
        weights = output_weights(outputs)
        if self.kind == "backward":
            return lambda: torch.autograd.grad(outputs, leaves, weights, retain_graph=True)
        return lambda: torch.autograd.grad(self.function(*leaves), leaves, weights)

    @torch.no_grad()
    def without_graph(self):
        self.function(*self.case.inputs)

    def run(self):
        if self.body is None:
            self.body = self.make_body()
            self.body()  # torch.compile compiles once more for a call without a graph; that is not what is timed
        return {"seconds": seconds_per_call(self.body)}


load = Op
