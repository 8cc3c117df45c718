import { execFileSync, spawnSync } from 'node:child_process'

/** A Python with transformers and torch, or null. */
export const python = (() => {
  const name = process.env.PRUDENT_PEERS_PYTHON ?? 'python3'
  return spawnSync(name, ['-c', 'import torch, transformers, numpy']).status === 0 ? name : null
})()

const PROGRAM = `
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
torch.set_num_threads(1)
answers = []
for job in json.load(sys.stdin):
    auto = AutoModelForCausalLM if job["task"] == "causal-lm" else AutoModelForSequenceClassification
    model, info = auto.from_pretrained(job["folder"], output_loading_info=True)
    with torch.no_grad():
        values = [model.eval()(torch.tensor([row])).logits.float().reshape(-1, model.config.vocab_size if job["task"] == "causal-lm" else model.config.num_labels)[-1].tolist() for row in job["rows"]]
    answers.append({"values": values, "dtype": str(model.dtype), "architectures": model.config.architectures,
                    "missing": sorted(info["missing_keys"]), "unexpected": sorted(info["unexpected_keys"])})
print(json.dumps(answers))
`

export interface ReadJob {
  folder: string
  task: 'causal-lm' | 'sequence-classification'
  rows: readonly (readonly number[])[]
}

export interface ReadAnswer {
  /** [rows][vocabulary or labels], at the last token */
  values: number[][]
  dtype: string
  architectures: string[]
  missing: string[]
  unexpected: string[]
}

/** What transformers makes of model folders. */
export function transformersReads(jobs: readonly ReadJob[]): ReadAnswer[] {
  const output = execFileSync(python ?? 'python3', ['-c', PROGRAM], {
    encoding: 'utf8',
    input: JSON.stringify(jobs),
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  return JSON.parse(output.trimEnd().split('\n').at(-1) as string) as ReadAnswer[]
}
