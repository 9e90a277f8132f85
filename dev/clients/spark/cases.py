"""Spark's Kafka source and sink, in batches and as a stream (Java client 3.9 inside)."""

import json
import sys
import tempfile
from pathlib import Path

here = Path(__file__).parent
sys.path.append(str(here.parent))
from harness import BOOTSTRAP, HOUR_AGO, case, command, equal, jars, main, topic, unique, venv  # noqa: E402
from records import producer, read, send  # noqa: E402

python = f"{venv('spark')}/bin/python"
libraries = ",".join(str(jar) for jar in sorted(Path(jars("spark")).glob("*.jar")))


def spark(*steps):
    text = command(python, here / "session.py", BOOTSTRAP, libraries, stdin=json.dumps(steps))
    return [json.loads(line[7:]) for line in text.splitlines() if line.startswith("RESULT ")]


def values(rows):
    return [r["value"] for r in rows]


@case(seconds=120)
def batch():
    name = topic(partitions=2)
    rows = [{"topic": name, "partition": i % 2, "key": f"k{i}", "value": f"v{i}",
             "headers": {"n": str(i)}} for i in range(200)]
    ends = {name: {"0": 60, "1": -1}}
    _, every, part, _ = spark(
        ["write", rows, {"includeHeaders": "true"}],
        ["read", {"subscribe": name}],
        ["read", {"assign": json.dumps({name: [0, 1]}), "minPartitions": "6",
                  "startingOffsets": json.dumps({name: {"0": 50, "1": 99}}),
                  "endingOffsets": json.dumps(ends)}],
        ["write", [{"topic": name, "partition": 0, "key": "gone"}], {"kafka.compression.type": "lz4"}],
    )
    equal(len(every), 200)
    equal(sorted(values(every)), sorted(r["value"] for r in rows))
    for p in range(2):
        mine = [r for r in every if r["partition"] == p]
        equal([r["offset"] for r in mine], list(range(100)))
        equal({int(r["value"][1:]) % 2 for r in mine}, {p})
    equal(all(r["key"] == "k" + r["value"][1:] == "k" + r["headers"]["n"] for r in every), True)
    equal([(r["partition"], r["offset"]) for r in part], [(0, o) for o in range(50, 60)] + [(1, 99)])
    equal(len(read_raw(name)), 201)


def read_raw(name):
    from confluent_kafka import TopicPartition
    from records import consumer, take

    reader = consumer()
    reader.assign([TopicPartition(name, 0, 0), TopicPartition(name, 1, 0)])
    got = take(reader, 201)
    equal([m.value() for m in got if m.key() == b"gone"], [None], "a null value")
    reader.close()
    return got


@case(seconds=120)
def batch_by_time_and_pattern():
    prefix = unique("pattern")
    one = topic("pattern")
    writer = producer()
    for i in range(10):
        writer.produce(one, str(i), timestamp=HOUR_AGO + i * 1000)
    writer.flush(20)
    equal(one.startswith(prefix), True)
    by_time, between, pattern = spark(
        ["read", {"subscribe": one, "startingTimestamp": str(HOUR_AGO + 4500)}],
        ["read", {"subscribe": one, "startingOffsetsByTimestamp": json.dumps({one: {"0": HOUR_AGO + 2000}}),
                  "endingOffsetsByTimestamp": json.dumps({one: {"0": HOUR_AGO + 5000}})}],
        ["read", {"subscribePattern": f"{prefix}.*"}],
    )
    equal(values(by_time), ["5", "6", "7", "8", "9"])
    equal(values(between), ["2", "3", "4"])
    equal([r["time"] for r in pattern], [HOUR_AGO + i * 1000 for i in range(10)])
    equal({r["timestampType"] for r in pattern}, {0})


@case(seconds=180)
def stream():
    """Two runs on one checkpoint: the second one goes on where the first one ended."""
    source, target = topic("source", 2), topic("target")
    for p in range(2):
        send(producer(), source, [f"a{p}-{i}" for i in range(50)], p)
    with tempfile.TemporaryDirectory() as checkpoint:
        copy = ["stream", {"subscribe": source, "startingOffsets": "earliest",
                           "maxOffsetsPerTrigger": "30"}, target, checkpoint]
        first, = spark(copy)
        equal((sum(first), max(first) <= 31, len(first) >= 4), (100, True, True), f"batches {first}")
        send(producer(), source, ["b0", "b1", "b2"])
        second, third = spark(copy, copy)
        equal((sum(second), sum(third)), (3, 0))
    got = read(target)
    equal(sorted(got[:100]), sorted(f"A{p}-{i}" for p in range(2) for i in range(50)))
    equal(sorted(got[100:]), ["B0", "B1", "B2"])


@case(seconds=120)
def read_committed():
    name, target = topic(), topic("target")
    client = producer(transactional_id=unique("txn"))
    client.init_transactions(20)
    for i in range(6):
        client.begin_transaction()
        send(client, name, [f"{i}-{n}" for n in range(10)])
        client.abort_transaction(20) if i % 2 else client.commit_transaction(20)
    want = [f"{i}-{n}" for i in (0, 2, 4) for n in range(10)]
    options = {"subscribe": name, "kafka.isolation.level": "read_committed"}
    with tempfile.TemporaryDirectory() as checkpoint:
        committed, every, copied = spark(
            ["read", options],
            ["read", {"subscribe": name}],
            ["stream", options | {"startingOffsets": "earliest"}, target, checkpoint],
        )
    equal(values(committed), want)
    equal(len(every), 60)
    equal(read(target), want)


main("spark")
