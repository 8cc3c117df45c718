"""Writes all golden data again: every generator in generators/, or those that are named.

Run: python test/golden/generate.py [models training ...]
They need torch, transformers, numpy, scipy, pyarrow and tokenizers; the golden files say which versions made them.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# These print their data.
PRINTED = {"public_ops": ROOT / "data" / "kernels.json", "study_statistics": ROOT / "statistics.json", "theory": ROOT / "theory.json", "uncertainty": ROOT / "uncertainty.json"}


def generators() -> dict[str, Path]:
    """By name; modules without a main of their own are what these import."""
    paths = sorted((ROOT / "generators").glob("*.py"))
    return {path.stem: path for path in paths if path.stem in PRINTED or "if __name__ ==" in path.read_text()}


def run(name: str, path: Path) -> None:
    print(name, flush=True)
    made = subprocess.run([sys.executable, path], check=True, stdout=subprocess.PIPE if name in PRINTED else None)
    if name in PRINTED:
        PRINTED[name].write_bytes(made.stdout)


def main() -> None:
    known = generators()
    wanted = sys.argv[1:] or list(known)
    for name in wanted:
        if name not in known:
            sys.exit(f"no generator {name!r}: there are {', '.join(known)}")
    for name in wanted:
        run(name, known[name])


if __name__ == "__main__":
    main()
