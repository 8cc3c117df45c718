"""Full fine-tune Bradley-Terry steps with transformers.
style 'trl': RewardTrainer.compute_loss of TRL (chosen and rejected padded each on their own, a forward for each, arrival order),
AdamW as the Hugging Face Trainer sets it up. style 'eager': pairs sorted by length, chosen and rejected in one forward, fused AdamW.
"""

import torch
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification

from jobs.common import autocast, batches, pad_right, timed, training_bytes


class Reward:
    def __init__(self, folder, chosen, rejected, lr, batch, style, bf16, checkpointing):
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, torch_dtype=torch.float32).train()
        if checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.chosen, self.rejected, self.bf16, self.style = chosen, rejected, bf16, style
        lengths = [max(len(a), len(b)) for a, b in zip(chosen, rejected)]
        order = sorted(range(len(chosen)), key=lambda pair: -lengths[pair]) if style == "eager" else None
        self.batches = batches(len(chosen), batch, order)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0, fused=style == "eager")
        self.held = training_bytes(self.model)

    def scores(self, rows):
        ids, mask = pad_right(rows)
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits

    def margins(self, batch):
        chosen = [self.chosen[pair] for pair in batch]
        rejected = [self.rejected[pair] for pair in batch]
        with autocast(self.bf16):
            if self.style == "trl":
                return self.scores(chosen) - self.scores(rejected)
            both = self.scores(chosen + rejected)
            return both[: len(batch)] - both[len(batch) :]

    def step(self):
        total = 0.0
        for batch in self.batches:
            loss = -logsigmoid(self.margins(batch).float()).mean() * (len(batch) / len(self.chosen))
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total, norm.item()

    def check(self):
        (loss, norm), (loss_after, norm_after) = self.step(), self.step()
        return {"loss": [loss], "gradNorm": [norm], "lossAfter": [loss_after], "gradNormAfter": [norm_after]}

    def run(self):
        seconds, _ = timed(self.step)
        return {"seconds": seconds, "tokens": sum(len(row) for row in self.chosen + self.rejected)}


load = Reward
