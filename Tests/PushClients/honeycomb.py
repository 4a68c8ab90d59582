"""Batches of events by libhoney, by gzip, which is its default, and without compression.

What becomes of each event it says in its queue of responses. The lanes are datasets.
"""
import libhoney
import story
from libhoney.transmission import Transmission

given = story.arguments()


def lane(dataset, is_gzip):
    name = f"/1/batch/{dataset} {'gzip' if is_gzip else 'plain'}"
    client = libhoney.Client(
        writekey=given.key,
        dataset=dataset,
        api_host=f"http://{given.node}",
        # A batch goes out when it is flushed, and not in parts because a quarter of a second has passed.
        transmission_impl=Transmission(gzip_enabled=is_gzip, send_frequency=10),
    )

    def send(number):
        for part in (1, 2, 3):
            event = client.new_event({"text": f"event {number}.{part}"})
            event.metadata = f"event {number}.{part}"
            event.send()
        client.flush()
        while (response := client.responses().get(timeout=10)) is not None:
            result = f"{response['status_code']} {response['error'] or ''}".strip()
            story.outcome(name, [response["metadata"]], result)

    return name, send


story.tell([lane("compressed", True), lane("plain", False)], given)
