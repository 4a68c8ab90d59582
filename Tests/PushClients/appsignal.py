"""AppSignal's agent of 0.11 as it was on the wire, by hand: the gem needs a Ruby that is long gone.

Every body is a zlib stream labelled gzip, and the key is in the query beside what the agent says of itself. What is answered anything
but 200 it keeps and sends again; the agent does so with the newest three, this one with the one that it has.
"""
import http.client
import json
import zlib
from urllib.parse import urlencode

import story

given = story.arguments()
query = urlencode(
    {
        "api_key": given.key,
        "name": "Checkout",
        "environment": "production",
        "hostname": "web-1",
        "gem_version": "0.11.15",
    }
)


def lane(path, words):
    name = f"{path} gzip"
    connection = http.client.HTTPConnection(given.node, timeout=10)
    kept = []

    def send(number):
        if not kept:
            kept.append(words(number))
        said, body = kept[0]
        connection.request(
            "POST",
            f"{path}?{query}",
            body=zlib.compress(json.dumps(body).encode(), 1),
            headers={"Content-Type": "application/json; charset=UTF-8", "Content-Encoding": "gzip"},
        )
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            kept.clear()
        story.outcome(name, said, response.status)

    return name, send


def entries(number):
    action = f"Entries#{number}"
    return [action], [{"request_id": str(number), "log_entry": {"action": action, "duration": 12.5}}]


def marker(number):
    revision = f"revision {number}"
    return [revision], {"revision": revision, "repository": "master", "user": "deployer"}


story.tell(
    [lane("/1/log_entries", entries), lane("/1/markers", marker), lane("/1/auth", lambda number: ([], {}))], given
)
