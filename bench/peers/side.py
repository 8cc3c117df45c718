"""A peer's side of a comparison: answers one JSON line with one JSON line. Standard output belongs to the protocol."""

import importlib
import importlib.metadata
import json
import os
import re
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what libraries print goes to standard error

job = None


def hello(threads):
    import torch

    torch.set_num_threads(threads)
    versions = {"python": sys.version.split()[0], "torch": torch.__version__}
    for name in ("transformers", "trl", "accelerate"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return {"versions": versions}


def snake_case(options):
    return {re.sub("[A-Z]", lambda upper: "_" + upper[0].lower(), name): value for name, value in options.items()}


def load(job_name, options):
    global job
    job = importlib.import_module(f"jobs.{job_name}").load(**snake_case(options))
    return {"held": job.held}


METHODS = {
    "hello": lambda params: hello(**params),
    "load": lambda params: load(params["job"], params["options"]),
    "check": lambda params: job.check(**snake_case(params)),
    "run": lambda params: job.run(**snake_case(params)),
}


def main():
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {"id": call["id"], "result": METHODS[call["method"]](call["params"])}
        except Exception:
            answer = {"id": call["id"], "error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


main()
