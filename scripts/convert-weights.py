#!/usr/bin/env python3
"""Writes a model that holds pickles (pytorch_model.bin) as safetensors, which prudent reads.

    python scripts/convert-weights.py MODEL FOLDER

MODEL is a folder or a hub id, FOLDER is new. A pickle runs code when it is read: torch's restricted reader (weights_only) is used,
which refuses anything but tensors. Needs Python with torch and transformers; `pip install torch transformers`.
"""

import argparse
import json
import pathlib
import shutil
import sys

TOKENIZER_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
]


def source_folder(model: str) -> pathlib.Path:
    folder = pathlib.Path(model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.jinja", "pytorch_model*.bin"]
    return pathlib.Path(snapshot_download(model, allow_patterns=patterns))


def pickles(folder: pathlib.Path) -> list:
    index = folder / "pytorch_model.bin.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = ["pytorch_model.bin"]
    for name in names:
        if "/" in name or "\\" in name or not (folder / name).is_file():
            sys.exit(f"{folder}: no file {name}")
    return names


def without_shared_memory(tensors: dict) -> dict:
    """Tied weights are one tensor under two names; safetensors holds each once, and config.json says that they are tied."""
    seen, kept = set(), {}
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0] == "lm_head.weight"):
        key = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tuple(tensor.shape))
        if tensor.numel() > 0 and key in seen:
            continue
        seen.add(key)
        kept[name] = tensor.contiguous()
    return kept


def convert(folder: pathlib.Path, target: pathlib.Path) -> None:
    import torch
    from safetensors.torch import save_file

    target.mkdir(parents=True)
    names = pickles(folder)
    weight_map, total = {}, 0
    for number, name in enumerate(names, 1):
        tensors = torch.load(folder / name, map_location="cpu", weights_only=True, mmap=True)
        tensors = without_shared_memory({key: value for key, value in tensors.items() if torch.is_tensor(value)})
        file = "model.safetensors" if len(names) == 1 else f"model-{number:05d}-of-{len(names):05d}.safetensors"
        save_file(tensors, target / file, metadata={"format": "pt"})
        weight_map.update({key: file for key in tensors})
        total += sum(value.nbytes for value in tensors.values())
    if len(names) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    for name in ["config.json", *TOKENIZER_FILES]:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    print(f"{target}: {len(weight_map)} tensors, {total / 1e9:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or hub id")
    parser.add_argument("folder", type=pathlib.Path, help="new folder for the converted model")
    given = parser.parse_args()
    if given.folder.exists():
        sys.exit(f"{given.folder}: exists already")
    convert(source_folder(given.model), given.folder)


if __name__ == "__main__":
    main()
