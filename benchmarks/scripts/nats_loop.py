"""nats_loop.py PORT BATCHES asyncio|uvloop: calls on the loop itself, without any bridge."""

import asyncio
import sys

import uvloop

from benchmarks.scripts.nats_calls import measure_on_loop

if sys.argv[3] == "uvloop":
    uvloop.run(measure_on_loop())
else:
    asyncio.run(measure_on_loop())
