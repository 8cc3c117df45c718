/**
 * Two small tokenizers, learnt from the corpus, in the files and shapes of the models they stand for: GPT-2's byte-level BPE for the policy
 * and Gemma's BPE with byte fallback and chat template for the scorer.
 */
import { byteAlphabet, learnMerges } from './bpe.mjs'

const special = (id, content) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
})

export const END_OF_TEXT = '<|endoftext|>'

/** Words with the space before them, if any, counted: what the merges are learnt from. */
export function countWords(texts) {
  const counts = new Map()
  for (const text of texts) for (const word of text.match(/ ?[a-z]+/g)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

/** GPT-2: 256 bytes, merges, <|endoftext|> last. */
export function policyTokenizer(wordCounts, merges) {
  const alphabet = byteAlphabet()
  const words = new Map([...wordCounts].map(([word, count]) => [word.replace(' ', alphabet[32]), count]))
  const learnt = learnMerges(words, (word) => [...word], merges)
  const symbols = [...[...alphabet].sort(), ...learnt.map(([left, right]) => left + right)]
  const vocab = Object.fromEntries([...new Set(symbols), END_OF_TEXT].map((symbol, id) => [symbol, id]))
  const end = vocab[END_OF_TEXT]
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [special(end, END_OF_TEXT)],
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: { ...byteLevel, trim_offsets: false },
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: '',
        end_of_word_suffix: '',
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab,
        merges: learnt.map((pair) => pair.join(' ')),
      },
    },
    'tokenizer_config.json': {
      add_prefix_space: false,
      bos_token: END_OF_TEXT,
      eos_token: END_OF_TEXT,
      unk_token: END_OF_TEXT,
      model_max_length: 64,
      tokenizer_class: 'GPT2TokenizerFast',
    },
  }
}

export const GEMMA_TEMPLATE =
  "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" +
  "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}" +
  "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}" +
  "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}" +
  "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"

/** Gemma: specials, bytes as <0x..>, letters, merges of words that begin with ▁. */
export function scorerTokenizer(wordCounts, merges) {
  const specials = ['<pad>', '<eos>', '<bos>', '<unk>', '<start_of_turn>', '<end_of_turn>', '\n']
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const words = [...wordCounts].map(([word, count]) => [word.replace(' ', '▁'), count])
  const letters = [...new Set([...'▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?\'"-'])]
  const extra = ['user', 'model'].map((word) => [word, 1_000_000])
  const learnt = learnMerges(new Map([...extra, ...words]), (word) => [...word], merges)
  const symbols = [...specials, ...bytes, ...letters, ...learnt.map(([left, right]) => left + right)]
  const vocab = Object.fromEntries([...new Set(symbols)].map((symbol, id) => [symbol, id]))
  const one = (id) => ({ SpecialToken: { id, type_id: 0 } })
  const sequence = (id, type) => ({ Sequence: { id, type_id: type } })
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials.slice(0, 6).map((content, id) => special(id, content)),
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
      post_processor: {
        type: 'TemplateProcessing',
        single: [one('<bos>'), sequence('A', 0)],
        pair: [one('<bos>'), sequence('A', 0), { SpecialToken: { id: '<bos>', type_id: 1 } }, sequence('B', 1)],
        special_tokens: { '<bos>': { id: '<bos>', ids: [vocab['<bos>']], tokens: ['<bos>'] } },
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
        ],
      },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: '<unk>',
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
        vocab,
        merges: learnt.map((pair) => pair.join(' ')),
      },
    },
    'tokenizer_config.json': {
      add_bos_token: true,
      add_eos_token: false,
      bos_token: '<bos>',
      eos_token: '<eos>',
      pad_token: '<pad>',
      unk_token: '<unk>',
      chat_template: GEMMA_TEMPLATE,
      clean_up_tokenization_spaces: false,
      model_max_length: 128,
      tokenizer_class: 'GemmaTokenizer',
    },
  }
}
