"""Submits a text from Python with the BullMQ client (pip install bullmq==3.4.4 redis==8.1.0) and prints its labels.

    python3 examples/submit.py redis://127.0.0.1:6379 MODEL DIGEST s3://bucket/labels/ "Great value"

MODEL and DIGEST are those of a model that a worker serves: see `labelmill models --json` or `labelmill status --json`.
"""
import asyncio
import json
import re
import secrets
import sys

import redis.asyncio as redis
from bullmq import Queue

PREFIX = "{labelmill}"


async def main(url: str, model: str, digest: str, output: str, text: str) -> None:
    run = secrets.token_hex(8)
    job_id = f"{run}-0000000"
    job = {
        "v": 3,
        "run": run,
        "slice": 0,
        "single": True,  # the run has only this job
        "model": {"id": model, "digest": digest, "task": "text-classification"},
        "output": f"{output.rstrip('/')}/",
        "key": f"single-{run}.jsonl",
        "topK": 5,
        "events": "rows",
        "sources": ["submitted:"],
        "items": [{"id": "1", "source": 0, "record": 0, "text": text}],
    }
    connection = redis.from_url(url)
    listener = connection.pubsub()
    await listener.subscribe(f"{PREFIX}:run:{run}:changed")  # before the job is added, so that no event is missed
    name = f"labelmill3.{re.sub(r'[^A-Za-z0-9_-]', '-', model)[:64]}.{digest[:8]}.interactive"
    queue = Queue(name, {"connection": url, "prefix": PREFIX})
    try:
        await queue.add("slice", job, {
            "jobId": job_id,
            "attempts": 5,
            "backoff": {"type": "exponential", "delay": 1000},
            "removeOnComplete": True,
        })
        async for message in listener.listen():
            if message["type"] == "message":
                print(json.dumps(json.loads(message["data"]), indent=1))
                return
    finally:
        await queue.close()
        await listener.aclose()
        await connection.aclose()


asyncio.run(main(*sys.argv[1:6]))
