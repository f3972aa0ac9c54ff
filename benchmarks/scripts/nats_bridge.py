"""nats_bridge.py PORT BATCHES gevent|threading: calls of a service's tasks over the bridge."""

import sys

from benchmarks.scripts.nats_calls import measure
from ginkgo import Service


class Caller(Service):
    backend = sys.argv[3]


with Caller() as service:
    measure(service.async_.run, service.spawn)
