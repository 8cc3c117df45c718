// The paper's models as their hub repositories describe them (config.json) and lay them out (tensor names, order, shards), and small
// twins with the same names and more than one shard.

const GEMMA = {
  architectures: ['GemmaForCausalLM'],
  ...{ attention_bias: false, attention_dropout: 0.0, bos_token_id: 2, eos_token_id: 1, head_dim: 256 },
  ...{ hidden_act: 'gelu', hidden_size: 2048, initializer_range: 0.02, intermediate_size: 16384 },
  ...{ max_position_embeddings: 8192, model_type: 'gemma', num_attention_heads: 8, num_hidden_layers: 18 },
  ...{ num_key_value_heads: 1, pad_token_id: 0, rms_norm_eps: 1e-6, rope_scaling: null, rope_theta: 10000.0 },
  ...{ torch_dtype: 'bfloat16', use_cache: true, vocab_size: 256000 },
}
const LLAMA_3 = {
  architectures: ['LlamaForCausalLM'],
  ...{ attention_bias: false, attention_dropout: 0.0, bos_token_id: 128000, eos_token_id: 128009 },
  ...{ hidden_act: 'silu', hidden_size: 4096, initializer_range: 0.02, intermediate_size: 14336 },
  ...{ max_position_embeddings: 8192, model_type: 'llama', num_attention_heads: 32, num_hidden_layers: 32 },
  ...{ num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_scaling: null, rope_theta: 500000.0 },
  ...{ tie_word_embeddings: false, torch_dtype: 'bfloat16', use_cache: true, vocab_size: 128256 },
}
const SMALL = { hidden_size: 48, intermediate_size: 88, num_attention_heads: 4, num_hidden_layers: 3, vocab_size: 301 }

/** Largest shard in bytes, as transformers' save_pretrained took it: whole tensors up to the limit. */
export const ARCHITECTURES = {
  'gemma-2b': { config: GEMMA, shardBytes: 5e9 },
  'llama-3-8b': { config: LLAMA_3, shardBytes: 5e9 },
  'gemma-small': { config: { ...GEMMA, ...SMALL, head_dim: 16, max_position_embeddings: 512 }, shardBytes: 6e4 },
  'llama-small': {
    config: {
      ...LLAMA_3,
      ...SMALL,
      num_key_value_heads: 2,
      bos_token_id: 1,
      eos_token_id: 2,
      max_position_embeddings: 512,
    },
    shardBytes: 6e4,
  },
}

/** [name, shape, whether it is a norm's gain] of every tensor, in the order of the hub's files. */
export function tensorsOf(config) {
  const width = config.hidden_size
  const headDim = config.head_dim ?? width / config.num_attention_heads
  const [queries, keys] = [config.num_attention_heads * headDim, config.num_key_value_heads * headDim]
  const inner = config.intermediate_size
  const tensors = [['model.embed_tokens.weight', [config.vocab_size, width], false]]
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}.`
    tensors.push(
      [`${prefix}input_layernorm.weight`, [width], true],
      [`${prefix}mlp.down_proj.weight`, [width, inner], false],
      [`${prefix}mlp.gate_proj.weight`, [inner, width], false],
      [`${prefix}mlp.up_proj.weight`, [inner, width], false],
      [`${prefix}post_attention_layernorm.weight`, [width], true],
      [`${prefix}self_attn.k_proj.weight`, [keys, width], false],
      [`${prefix}self_attn.o_proj.weight`, [width, queries], false],
      [`${prefix}self_attn.q_proj.weight`, [queries, width], false],
      [`${prefix}self_attn.v_proj.weight`, [keys, width], false],
    )
  }
  tensors.push(['model.norm.weight', [width], true])
  if (config.tie_word_embeddings === false) tensors.push(['lm_head.weight', [config.vocab_size, width], false])
  return tensors
}

export function itemsOf(shape) {
  return shape.reduce((product, size) => product * size, 1)
}
