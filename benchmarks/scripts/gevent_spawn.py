"""gevent_spawn.py BATCHES: tasks in a `gevent.pool.Group`."""

from gevent.pool import Group

from benchmarks.scripts.batches import measure_spawn

measure_spawn(Group().spawn)
