"""Sampling with transformers' generate(), prompts padded on the left into one batch."""

import torch
from transformers import AutoModelForCausalLM

from jobs.common import DTYPES, pad_left, pad_right, parameter_bytes, timed


class Generate:
    def __init__(self, folder, dtype, prompts, rows, new_tokens):
        self.model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=DTYPES[dtype]).eval()
        self.model.generation_config.eos_token_id = None
        self.pad = self.model.config.vocab_size - 1
        self.prompts, self.rows, self.new_tokens = prompts, rows, new_tokens
        self.fp32 = dtype == "float32"
        self.held = parameter_bytes(self.model)

    @torch.no_grad()
    def generate(self, **sampling):
        ids, mask = pad_left(self.prompts, self.pad)
        out = self.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=self.new_tokens, pad_token_id=self.pad, **sampling
        )
        return out[:, ids.shape[1] :]

    @torch.no_grad()
    def logprobs(self):
        ids, mask = pad_right(self.rows, self.pad)
        logprobs = self.model(input_ids=ids, attention_mask=mask).logits[:, :-1].float().log_softmax(-1)
        taken = logprobs.gather(-1, ids[:, 1:, None]).squeeze(-1)
        return [value for row, length in zip(taken, mask.sum(1)) for value in row[: length - 1].tolist()]

    def check(self):
        result = {"logprobs": self.logprobs()}
        return {**result, "greedy": self.generate(do_sample=False).flatten().tolist()} if self.fp32 else result

    def run(self):
        seconds, _ = timed(lambda: self.generate(do_sample=True, top_k=0, top_p=1.0, temperature=1.0))
        return {"seconds": seconds, "tokens": len(self.prompts) * self.new_tokens}


load = Generate
