"""Heads on a frozen base with transformers. `style` of a run: 'rerun' computes the base in every epoch, 'cached' keeps its features."""

import torch
from transformers import AutoModelForSequenceClassification

from jobs.common import DTYPES, batches, by_length, pad_right, parameter_bytes, timed


class Heads:
    def __init__(self, folder, dtype, chosen, rejected, heads, initial, lr, batch, forward_batch):
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, torch_dtype=DTYPES[dtype]).eval()
        self.rows = chosen + rejected
        self.pairs, self.batch, self.lr = len(chosen), batch, lr
        self.forward_batch = forward_batch
        self.initial = torch.tensor(initial).view(heads, -1)
        self.held = parameter_bytes(self.model)
        self.kept = self.features(range(len(self.rows)))
        self.trainer = self.new_trainer()

    def new_trainer(self):
        weight = torch.nn.Parameter(self.initial.clone())
        return weight, torch.optim.AdamW([weight], lr=self.lr, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def features(self, which):
        """Hidden state of the last token, rows sorted by length as a good engineer would."""
        which = list(which)
        rows = [self.rows[index] for index in which]
        out = torch.empty(len(rows), self.model.config.hidden_size)
        for batch in batches(len(rows), self.forward_batch, by_length(rows)):
            ids, mask = pad_right([rows[index] for index in batch])
            hidden = self.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
            out[batch] = hidden[torch.arange(len(batch)), mask.sum(1) - 1].float()
        return out

    def step(self, trainer, chosen, rejected):
        weight, optimizer = trainer
        margins = chosen @ weight.T - rejected @ weight.T
        losses = -torch.nn.functional.logsigmoid(margins).mean(0)
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimizer.step()
        return losses.detach().tolist()

    def epoch(self, trainer, features=None):
        losses = []
        for batch in batches(self.pairs, self.batch):
            others = [index + self.pairs for index in batch]
            chosen = self.features(batch) if features is None else features[batch]
            rejected = self.features(others) if features is None else features[others]
            losses += self.step(trainer, chosen, rejected)
        return losses

    def first(self):
        return self.epoch(self.new_trainer(), self.features(range(len(self.rows))))

    def later(self, style):
        return self.epoch(self.trainer, self.kept if style == "cached" else None)

    def check(self, **_):
        return {"losses": self.first()}

    def run(self, phase, style="cached"):
        seconds, _ = timed(self.first if phase == "first" else lambda: self.later(style))
        return {"seconds": seconds, "tokens": sum(len(row) for row in self.rows)}


load = Heads
