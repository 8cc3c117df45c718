import { execFileSync, spawnSync } from 'node:child_process'

/** A Python with transformers and torch, or null. */
export const python = (() => {
  const name = process.env.PRUDENT_PEERS_PYTHON ?? 'python3'
  return spawnSync(name, ['-c', 'import torch, transformers']).status === 0 ? name : null
})()

const PROGRAM = `
import json, sys, torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
ensemble, policy, rows = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with torch.no_grad():
    model = AutoModelForSequenceClassification.from_pretrained(ensemble, dtype=torch.float32).eval()
    scores = [model(torch.tensor([row])).logits[0].tolist() for row in rows]
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32).eval()
    logprobs = []
    for row in rows:
        logits = model(torch.tensor([row])).logits[0].log_softmax(-1)
        logprobs.append([logits[t, row[t + 1]].item() for t in range(len(row) - 1)])
# As TRL's AutoModelForCausalLMWithValueHead.post_init reads its value head.
state = load_file(policy + '/model.safetensors')
state = {k.replace('v_head.', ''): v for k, v in state.items() if 'v_head.' in k}
class ValueHead(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.summary = torch.nn.Linear(hidden, 1)
head = ValueHead(model.config.hidden_size)
head.load_state_dict(state, strict=True)
print(json.dumps({'scores': scores, 'logprobs': logprobs, 'valueHead': list(head.summary.weight.shape)}))
`

export interface TransformersNumbers {
  /** [rows][heads] */
  scores: number[][]
  /** [rows][tokens - 1] */
  logprobs: number[][]
  valueHead: number[]
}

/** What transformers says of a saved ensemble and a saved policy. */
export function askTransformers(ensemble: string, policy: string, rows: readonly number[][]): TransformersNumbers {
  const output = execFileSync(python ?? 'python3', ['-c', PROGRAM, ensemble, policy, JSON.stringify(rows)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return JSON.parse(output.trimEnd().split('\n').at(-1) as string)
}
