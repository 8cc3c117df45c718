"""Whole PPO steps with the real PPOTrainer of classic TRL (0.11), reward given.
generate_batch: rows of one generate() call; TRL's default is 4.
"""

import warnings

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from trl import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer

from jobs.common import parameter_bytes, timed, training_bytes


def tokenizer_of(vocab_size):
    """PPOTrainer wants a tokenizer to pad with; it never sees text here."""
    words = Tokenizer(WordLevel({f"w{index}": index for index in range(vocab_size)}, unk_token="w0"))
    last = f"w{vocab_size - 1}"
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=last, pad_token=last)


class TrlPpo:
    def __init__(self, folder, prompts, scores, new_tokens, kl_coef, lr, bf16=False):
        warnings.filterwarnings("ignore")
        policy = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
        reference = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
        config = PPOConfig(
            batch_size=len(prompts),
            mini_batch_size=len(prompts),
            ppo_epochs=4,
            learning_rate=lr,
            init_kl_coef=kl_coef,
            adap_kl_ctrl=False,
            accelerator_kwargs={"mixed_precision": "bf16" if bf16 else "no", "cpu": True},
        )
        vocab_size = policy.pretrained_model.config.vocab_size
        policy.pretrained_model.generation_config.eos_token_id = None
        self.trainer = PPOTrainer(config, policy, reference, tokenizer_of(vocab_size))
        self.queries = [torch.tensor(prompt) for prompt in prompts]
        self.scores = [torch.tensor(score) for score in scores]
        self.sampling = {"max_new_tokens": new_tokens, "pad_token_id": vocab_size - 1, "eos_token_id": None}
        self.new_tokens = new_tokens
        self.held = training_bytes(policy) + parameter_bytes(reference)

    def generate(self, generate_batch, **sampling):
        return self.trainer.generate(
            self.queries, batch_size=generate_batch, return_prompt=False, **self.sampling, **sampling
        )

    def check(self, generate_batch):
        responses = self.generate(generate_batch, do_sample=False)
        stats = self.trainer.step(self.queries, responses, self.scores)
        return {
            "valueLoss": [float(stats["ppo/loss/value"])],
            "returns": [float(stats["ppo/returns/mean"]), float(stats["ppo/returns/var"])],
            "values": [float(stats["ppo/val/vpred"]), float(stats["ppo/val/error"])],
            "policyKl": [float(stats["ppo/policy/policykl"]), float(stats["ppo/policy/approxkl"])],
            "policyLoss": [float(stats["ppo/loss/policy"])],
            "tokens": torch.cat(responses).tolist(),
        }

    def run(self, generate_batch):
        rollout, responses = timed(lambda: self.generate(generate_batch, do_sample=True, top_k=0, top_p=1.0))
        update, _ = timed(lambda: self.trainer.step(self.queries, responses, self.scores))
        tokens = len(self.queries) * self.new_tokens
        return {"seconds": rollout + update, "rolloutSeconds": rollout, "updateSeconds": update, "tokens": tokens}


load = TrlPpo
