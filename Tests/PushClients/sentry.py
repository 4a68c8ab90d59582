"""Envelopes by Sentry's SDK, by brotli, which is its default where it is installed, and by gzip. The lanes are projects.

It says nothing of what was taken; of what wasn't it tells its transport, and its log.
"""
import sentry_sdk
import story
from sentry_sdk.transport import HttpTransport

given = story.arguments()


def lane(project, algorithm):
    name = f"/api/{project}/envelope/ {algorithm}"

    class Transport(HttpTransport):
        def on_dropped_event(self, reason):
            story.outcome(name, [], reason)

    client = sentry_sdk.Client(
        dsn=f"http://{given.key}@{given.node}/{project}",
        transport=Transport,
        # Makes the SDK print the answers. It asks the process's client whether it may.
        debug=True,
        # They would be for the process, whose clients these are two of.
        default_integrations=False,
        _experiments={} if algorithm == "br" else {"transport_compression_algo": algorithm},
    )
    sentry_sdk.get_global_scope().set_client(client)

    def send(number):
        text = f"message {number}"
        client.capture_event({"message": text, "level": "info"})
        story.outcome(name, [text], "captured")
        client.flush(timeout=10)

    return name, send


lanes = [lane(41, "br"), lane(42, "gzip")]
story.reports_of("sentry_sdk.errors")
story.tell(lanes, given)
