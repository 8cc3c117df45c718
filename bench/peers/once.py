"""What a user's script does for one line, from the start of the process: once.py help | score MODEL INPUT"""

import json
import sys

import torch
from transformers import AutoModelForSequenceClassification


def score(folder, input_file):
    model = AutoModelForSequenceClassification.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()
    with open(input_file) as lines:
        ids = json.loads(next(lines))["input_ids"]
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([ids])).logits[0].float().tolist()
    print(json.dumps({"index": 0, "scores": scores}))


if sys.argv[1] == "score":
    score(*sys.argv[2:])
