"""A job that does nothing, for RQ, and what puts many of it into the queue: rq_jobs.py REDIS_URL COUNT."""

import sys

from redis import Redis
from rq import Queue


def nothing(payload):
    pass


def fill(url, count):
    queue = Queue(connection=Redis.from_url(url))
    payload = "x" * 1024
    for start in range(0, count, 500):
        # Results aren't kept: nobody asks for them.
        queue.enqueue_many([
            Queue.prepare_data("rq_jobs.nothing", (payload,), result_ttl=0)
            for _ in range(start, min(start + 500, count))
        ])


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
