"""FastAPI + transformers with dynamic batching, as a good engineer serves a reward model: requests that wait share one padded forward.

One forward at a time runs in a thread, so that the event loop goes on reading requests; what has come by its end goes into the next one.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from transformers import AutoModelForSequenceClassification

sys.path.insert(0, str(Path(__file__).parent))
from jobs.common import DTYPES, pad_right

options = json.loads(sys.argv[1])
torch.set_num_threads(options["threads"])
model = AutoModelForSequenceClassification.from_pretrained(
    options["folder"], torch_dtype=DTYPES[options["dtype"]]
).eval()
app = FastAPI()
waiting: asyncio.Queue = asyncio.Queue()


class Request(BaseModel):
    input: list[list[int]] = Field(min_length=1, max_length=256)


@torch.inference_mode()
def scores_of(rows):
    ids, mask = pad_right(rows)
    return model(input_ids=ids, attention_mask=mask).logits.float().tolist()


async def take_batch():
    """The rows of requests that wait, in order of arrival, up to the limit; a lone request waits `wait` seconds for company."""
    batch = [await waiting.get()]
    if waiting.empty():
        await asyncio.sleep(options["wait"])
    while not waiting.empty() and len(batch) < options["batch"]:
        batch.append(waiting.get_nowait())
    return batch


async def serve_batches():
    while True:
        batch = await take_batch()
        try:
            scores = await asyncio.to_thread(scores_of, [row for row, _ in batch])
        except Exception as error:
            for _, answer in batch:
                answer.set_exception(error)
            continue
        for (_, answer), heads in zip(batch, scores):
            answer.set_result(heads)


@app.post("/pooling")
async def pooling(request: Request):
    answers = []
    for row in request.input:
        answers.append(asyncio.get_running_loop().create_future())
        waiting.put_nowait((row, answers[-1]))
    rows = await asyncio.gather(*answers)
    data = []
    for index, heads in enumerate(rows):
        mean = sum(heads) / len(heads)
        variance = sum((score - mean) ** 2 for score in heads) / (len(heads) - 1)
        uncertainty = {"mean": mean, "std": variance**0.5, "heads": heads}
        data.append({"index": index, "object": "pooling", "data": heads, "uncertainty": uncertainty})
    return {"object": "list", "data": data}


async def main():
    # As uvicorn's own sockets are: without Nagle's algorithm, which would hold back the end of each answer for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)  # who connects before the server runs waits in the backlog
    tasks = [asyncio.create_task(serve_batches())]
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    answers.write(json.dumps({"url": "http://127.0.0.1:%d" % listener.getsockname()[1]}) + "\n")
    await server.serve(sockets=[listener])
    tasks[0].cancel()


asyncio.run(main())
