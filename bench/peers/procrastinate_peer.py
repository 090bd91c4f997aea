"""Procrastinate beside our own tasks: creates no-op jobs in batches of 100, then runs them with one worker process of
so many jobs at a time until none is left.

usage: python procrastinate_peer.py URL JOBS WORKERS
"""

import asyncio
import json
import sys
import time
from importlib.metadata import version

import procrastinate

url, jobs, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=workers, max_size=workers + 10))


@app.task(queue="noop")
async def noop():
    pass


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        began = time.perf_counter()
        batches = [noop.batch_defer_async(*[{} for _ in range(100)]) for _ in range(jobs // 100)]
        for first in range(0, len(batches), 10):
            await asyncio.gather(*batches[first : first + 10])
        created = time.perf_counter() - began
        began = time.perf_counter()
        await app.run_worker_async(queues=["noop"], concurrency=workers, wait=False, install_signal_handlers=False)
        ended = time.perf_counter() - began
        done = await app.connector.execute_query_one_async(
            "SELECT count(*) AS done FROM procrastinate_jobs WHERE status = 'succeeded'"
        )
        assert done["done"] == jobs, f"{done['done']} of {jobs} jobs were done"
        figures = {"created_per_second": jobs / created, "per_second": jobs / ended}
        print(json.dumps({"version": version("procrastinate"), **figures}))


asyncio.run(main())
