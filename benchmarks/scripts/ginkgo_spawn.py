"""ginkgo_spawn.py BATCHES: tasks of a running service."""

from benchmarks.scripts.batches import measure_spawn
from ginkgo import Service

service = Service()
service.start()
measure_spawn(service.spawn)
service.stop()
