"""Short forms of what cases do with confluent-kafka all the time; read next: harness.py."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from harness import BOOTSTRAP, equal, settled, unique


def producer(**config):
    return Producer(settings(config))


def consumer(group=None, **config):
    base = {"auto_offset_reset": "earliest", "group_id": group or unique("group"),
            "enable_auto_commit": False}
    return Consumer(settings(base | config))


def settings(config):
    """Keyword arguments, with _ for the dots of Kafka's keys."""
    return {"bootstrap.servers": BOOTSTRAP} | {k.replace("_", "."): v for k, v in config.items()}


def send(client, name, values, partition=0, keys=None):
    """Produces and waits for every acknowledgement; answers the offsets."""
    offsets = []

    def acknowledged(error, message):
        assert error is None, error
        offsets.append(message.offset())

    for i, value in enumerate(values):
        key = keys[i] if keys else None
        client.produce(name, value, key, partition=partition, on_delivery=acknowledged)
        client.poll(0)
    equal(client.flush(30), 0, "records without an answer")
    equal(len(offsets), len(values), "acknowledged records")
    return offsets


def take(client, count, seconds=20):
    """The next `count` records of a consumer, as messages."""
    got, end = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < end:
        message = client.poll(0.1)
        if message is None:
            continue
        assert not message.error(), message.error()
        got.append(message)
    equal(len(got), count, f"records taken: {[m.value() for m in got[:20]]}")
    return got


def values(messages):
    return [m.value().decode() for m in messages]


def read(name, partitions=1, isolation="read_committed", wait=True, **config):
    """All values of a topic from its beginning to its end, partition after partition.

    Waits until no transaction is open; without `wait` it reads what can be seen now.
    """
    if wait:
        settled(name, partitions)
    client = consumer(isolation_level=isolation, enable_partition_eof=True, **config)
    client.assign([TopicPartition(name, p, 0) for p in range(partitions)])
    got, ends, limit = {p: [] for p in range(partitions)}, 0, time.monotonic() + 20
    while ends < partitions:
        assert time.monotonic() < limit, f"no end of {name}: {got}"
        message = client.poll(0.5)
        if message is None:
            continue
        if message.error():
            equal(message.error().name(), "_PARTITION_EOF")
            ends += 1
        else:
            got[message.partition()].append(message.value().decode())
    client.close()
    return [value for p in range(partitions) for value in got[p]]
