"""How long a client goes on: until its lane was answered as the story goes.

A story is a list of statuses, `200,503,200`: the lane's answers have to contain them in this order. So a client needs nobody
to tell it what happens to the node; it sees that by the answers, as any client does, and ends when it has seen it all. An
answer that isn't in the story at all ends it at once, in failure, unless it is among those that may come in between.
"""
import argparse
import itertools
import logging
import os
import sys
import threading
import time

import ear


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", required=True, help="HOST:PORT")
    parser.add_argument("--key", required=True)
    parser.add_argument("--story", required=True, type=lambda text: [int(status) for status in text.split(",")])
    parser.add_argument("--also", default=[], type=lambda text: [int(status) for status in text.split(",")])
    parser.add_argument("--lanes", required=True, type=lambda text: text.split(","))
    parser.add_argument("--deadline", type=float, default=40, help="for all of it, in seconds")
    return parser.parse_args()


class Failed(Exception):
    pass


def is_told(story, heard):
    rest = iter(heard)
    return all(status in rest for status in story)


def tell(lanes, given):
    """Lets the lanes that were asked for send at once, each from its own thread, until all have heard their story. Ends the process.

    - lanes: (name, send): send(number) sends one payload in the client's own way, and returns when the client has done with
      it, whether it was delivered or not.
    """
    unknown = set(given.lanes) - {name for name, _ in lanes}
    if unknown:
        raise Failed(f"there is no lane {unknown}")
    failures = []
    deadline = time.monotonic() + given.deadline

    def run(lane, send):
        try:
            for number in itertools.count(1):
                send(number)
                heard = ear.statuses(lane)
                strange = [status for status in heard if status not in given.story + given.also]
                if strange:
                    raise Failed(f"{lane}: {strange[0]} is no part of {given.story}")
                if is_told(given.story, heard):
                    return
                if time.monotonic() > deadline:
                    raise Failed(f"{lane}: heard {heard}, and not {given.story}, within {given.deadline} s")
                # A service has something to say now and then; it doesn't ask without a pause whether the node is back.
                time.sleep(0.02)
        except Exception as error:
            failures.append(lane)
            ear.say(kind="failed", lane=lane, outcome=f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=lane, daemon=True) for lane in lanes if lane[0] in given.lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline + 5 - time.monotonic()))
        if thread.is_alive():
            failures.append("a lane that hangs")
    sys.stdout.flush()
    sys.stderr.flush()
    # Clients have threads of their own, which may want to retry for long.
    os._exit(1 if failures else 0)


class _Reports(logging.Handler):
    def emit(self, record):
        ear.say(kind="report", outcome=record.getMessage())


def reports_of(logger):
    """What a client tells those who run it."""
    logging.getLogger(logger).addHandler(_Reports(logging.WARNING))


def outcome(lane, said, result):
    """What a client says has become of what it was given. said: the texts that must be found in what is stored."""
    ear.say(kind="outcome", lane=lane, said=said, outcome=str(result))
