"""Scores with transformers' sequence classifier, as RewardBench and TRL's evaluation run it: padded batches."""

import torch
from transformers import AutoModelForSequenceClassification

from jobs.common import DTYPES, batches, by_length, pad_right, parameter_bytes, timed


class Score:
    def __init__(self, folder, dtype, rows, batch):
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, torch_dtype=DTYPES[dtype]).eval()
        self.rows = rows
        self.batches = {"arrival": batches(len(rows), batch), "sorted": batches(len(rows), batch, by_length(rows))}
        self.held = parameter_bytes(self.model)

    @torch.no_grad()
    def scores(self, order):
        out = torch.empty(len(self.rows), self.model.config.num_labels)
        for batch in self.batches[order]:
            ids, mask = pad_right([self.rows[index] for index in batch])
            out[batch] = self.model(input_ids=ids, attention_mask=mask).logits.float()
        return out

    def check(self, order):
        return {"scores": self.scores(order).flatten().tolist()}

    def run(self, order):
        seconds, _ = timed(lambda: self.scores(order))
        return {"seconds": seconds, "tokens": sum(len(row) for row in self.rows)}


load = Score
