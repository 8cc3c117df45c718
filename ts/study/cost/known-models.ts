/** config.json of models that everybody has the weights of, as far as sizes follow from it: an experiment is planned without a download. */

const GEMMA_2B = {
  ...{ model_type: 'gemma', hidden_size: 2048, intermediate_size: 16384, num_hidden_layers: 18 },
  ...{ num_attention_heads: 8, num_key_value_heads: 1, head_dim: 256, vocab_size: 256000 },
} as const
const GPT2 = {
  model_type: 'gpt2',
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_positions: 1024,
  vocab_size: 50257,
} as const
const LLAMA_3_8B = {
  ...{ model_type: 'llama', hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 32 },
  ...{ num_attention_heads: 32, num_key_value_heads: 8, vocab_size: 128256 },
} as const

/** By hub id. */
export const KNOWN_MODELS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'google/gemma-2b': GEMMA_2B,
  'google/gemma-2b-it': GEMMA_2B,
  gpt2: GPT2,
  'openai-community/gpt2': GPT2,
  'meta-llama/Meta-Llama-3-8B': LLAMA_3_8B,
  'meta-llama/Meta-Llama-3-8B-Instruct': LLAMA_3_8B,
  'sfairXC/FsfairX-LLaMA3-RM-v0.1': LLAMA_3_8B,
}
