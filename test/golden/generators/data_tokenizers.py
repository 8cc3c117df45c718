"""Small tokenizers of every shape that prudent reads, with the ids and texts that transformers gives for them.

Run: python test/golden/generators/data_tokenizers.py   (writes test/data/files/tokenizers/)
"""

import json
import random
import shutil
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, GPT2Tokenizer, GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

OUTPUT = Path(__file__).resolve().parents[2] / "data" / "files" / "tokenizers"

CORPUS = [
    "The film was a quiet delight, and the ending surprised everyone in the room.",
    "I can't recommend this restaurant: the service was slow and the food was cold.",
    "Numbers like 1234 and 3.14159 appear; so do dates such as 2024-03-01.",
    "Write a short poem about the sea, please. Keep it under twenty words!",
    "user asked a question and the model answered it politely and with care",
    "Ein schöner Tag in München, naïve café façade, señor, coöperate",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))",
] * 4

TEXTS = [
    "",
    " ",
    "   leading spaces",
    "trailing spaces   ",
    "The film was a quiet delight.",
    "tabs\tand\nnew\n\nlines\r\n",
    "1234567 3.14159 1,000,000",
    "naïve café — “quotes” … ﬁ ligature",
    "e\u0301 against \u00e9 and \u212b",
    "日本語のテキスト и русский текст",
    "emoji 👩‍👩‍👧‍👦 🎉🎉 \U0001f468\u200d\U0001f4bb",
    "zero\u200bwidth\u00a0space\u3000ideographic",
    "<bos>text with<eos> special <unk> tokens <pad>",
    "<|endoftext|> and <|begin_of_text|> inside",
    "<s>llama</s> [PAD] <start_of_turn>user\nhi<end_of_turn>\n",
    "can't won't I'm you've they'll he'd it's .  , ! ?",
    "a" * 70,
    "\x00\x01 control \x7f",
    "▁ the metaspace itself ▁▁",
    "<custom> and <extra_0> close<custom>up",
]

GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
LLAMA3_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] +"
    " '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
PLAIN_TEMPLATE = (
    "{% for message in messages %}\n"
    "    {% if message.role == 'user' %}\n"
    "Question: {{ message.content }}\n"
    "    {% else %}\n"
    "Answer: {{ message.content }}{{ eos_token }}\n"
    "    {% endif %}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)
CONVERSATIONS = [
    [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "  Hello, friend! "}],
    [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three\n"}],
    [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hm"}, {"role": "assistant", "content": "Mh"}],
    [{"role": "assistant", "content": "I start"}],
]


def byte_level(vocab_size=400, special=("<|endoftext|>",), pattern=None):
    tokenizer = Tokenizer(models.BPE())
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def vocabulary_of(tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def byte_fallback(special, vocab_size=520):
    """A SentencePiece-like BPE: special tokens first, then the 256 byte pieces, then what training finds."""
    base = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    base.normalizer = normalizers.Replace(" ", "▁")
    base.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special) + pieces, show_progress=False, limit_alphabet=60)
    base.train_from_iterator(CORPUS, trainer)
    return vocabulary_of(base)


def gpt2(folder, **options):
    vocab, merges = vocabulary_of(byte_level())
    GPT2Tokenizer(vocab=vocab, merges=merges, **options).save_pretrained(folder)


def gpt2_padded(folder):
    gpt2(folder, add_prefix_space=True, pad_token="[PAD]", extra_special_tokens=["<extra_0>"])


def llama3(folder):
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    special = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    tokenizer = byte_level(420, special, pattern)
    bos = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[bos]
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", clean_up_tokenization_spaces=True
    )
    fast.chat_template = LLAMA3_TEMPLATE
    fast.save_pretrained(folder)


def gemma(folder):
    vocab, merges = byte_fallback(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"))
    tokenizer = GemmaTokenizer(vocab=vocab, merges=merges, add_bos_token=True, extra_special_tokens=["<start_of_turn>", "<end_of_turn>"])
    tokenizer.chat_template = GEMMA_TEMPLATE
    tokenizer.save_pretrained(folder)


def gemma_hub(folder):
    """As the hub holds it: string templates in tokenizer_config.json, added_tokens_decoder, special_tokens_map.json."""
    gemma(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    backend = json.loads((folder / "tokenizer.json").read_text())
    config["tokenizer_class"] = "GemmaTokenizer"
    config["chat_template"] = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    entries = {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in backend["added_tokens"]}
    config["added_tokens_decoder"] = entries
    config["clean_up_tokenization_spaces"] = False
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    mapped = {name: dict(entries[str(index)]) for name, index in (("pad_token", 0), ("eos_token", 1), ("bos_token", 2), ("unk_token", 3))}
    for token in mapped.values():
        token.pop("special")
    (folder / "special_tokens_map.json").write_text(json.dumps(mapped, indent=2))


def llama2(folder):
    vocab, merges = byte_fallback(("<unk>", "<s>", "</s>"))
    LlamaTokenizer(vocab=vocab, merges=merges, add_bos_token=True, add_eos_token=False).save_pretrained(folder)


def word_level(folder):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=90, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    pairs = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=pairs)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        clean_up_tokenization_spaces=True,
    )
    fast.add_tokens([AddedToken("<custom>", lstrip=True, normalized=False)])
    fast.chat_template = PLAIN_TEMPLATE
    fast.save_pretrained(folder)


def word_level_truncating(folder):
    """tokenizer.json with truncation and padding switched on, which a plain call must not apply, and flags that are ignored."""
    word_level(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=8, pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.update(add_bos_token=False, add_eos_token=True, truncation_side="left", sep_token="<sep_new>")
    config["chat_template"] = [{"name": "default", "template": PLAIN_TEMPLATE}, {"name": "other", "template": "{{ messages | length }}"}]
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def unigram(folder):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<pad>", "<unk>", "</s>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>").save_pretrained(folder)


def expected(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    draw = random.Random(7)
    cases = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        left = tokenizer(text, truncation=True, max_length=6)["input_ids"] if set_side(tokenizer, "left") else None
        right = tokenizer(text, truncation=True, max_length=6)["input_ids"] if set_side(tokenizer, "right") else None
        case = {"text": text, "ids": ids, "plain": plain, "left": left, "right": right}
        case.update(decoded=tokenizer.decode(ids), skipped=tokenizer.decode(ids, skip_special_tokens=True))
        cases.append(case)
    decodes = []
    for _ in range(20):
        ids = [draw.randrange(len(tokenizer)) for _ in range(draw.randrange(1, 12))]
        decodes.append({"ids": ids, "decoded": tokenizer.decode(ids), "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    templates = []
    for messages in CONVERSATIONS if tokenizer.chat_template else []:
        for generation in (False, True):
            try:
                text, error = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation), None
            except Exception as failure:  # the template's own message is the expectation
                text, error = None, str(failure)
            templates.append({"messages": messages, "addGenerationPrompt": generation, "text": text, "error": error})
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    special = {name: getattr(tokenizer, name) for name in names}
    return {"size": len(tokenizer), "special": special, "cases": cases, "decodes": decodes, "templates": templates}


def set_side(tokenizer, side):
    tokenizer.truncation_side = side
    return True


SHAPES = {
    "gpt2": gpt2,
    "gpt2-padded": gpt2_padded,
    "llama3": llama3,
    "llama2": llama2,
    "gemma": gemma,
    "gemma-hub": gemma_hub,
    "word-level": word_level,
    "word-level-truncating": word_level_truncating,
    "unigram": unigram,
}


def main():
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for name, write in SHAPES.items():
        folder = OUTPUT / name
        folder.mkdir(parents=True)
        write(folder)
        (folder / "expected.json").write_text(json.dumps(expected(folder), ensure_ascii=True, indent=1) + "\n")
    stamp = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    (OUTPUT / "stamp.json").write_text(json.dumps(stamp) + "\n")


if __name__ == "__main__":
    main()
