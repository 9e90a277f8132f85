"""Flink's Kafka source and its exactly-once sink with both naming strategies of transactions."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from confluent_kafka import TopicPartition  # noqa: E402
from harness import (  # noqa: E402
    HOUR_AGO, case, command, contains, equal, java_program, main, topic, unique,
)
from records import consumer, producer, read, send, take  # noqa: E402

OPENED = "java.lang java.util java.util.concurrent java.net java.io java.nio java.time sun.net.util"
program = java_program(
    "flink", "-Xmx512m", *[f"--add-opens=java.base/{p}=ALL-UNNAMED" for p in OPENED.split()])


def flink(*words):
    return command(*program, *words)


def rows(text):
    return [line[4:] for line in text.splitlines() if line.startswith("ROW ")]


@case(seconds=120)
def source():
    name, group = topic(partitions=2), unique("group")
    writer = producer(transactional_id=unique("txn"))
    writer.init_transactions(20)
    for n, commit in enumerate((True, False, True)):
        writer.begin_transaction()
        for i in range(20):
            writer.produce(name, f"{n}-{i}", partition=i % 2, timestamp=HOUR_AGO + n * 1000)
        equal(writer.flush(20), 0)
        writer.commit_transaction(20) if commit else writer.abort_transaction(20)
    want = [[f"{n}-{i}" for n in (0, 2) for i in range(p, 20, 2)] for p in range(2)]
    got = rows(flink("read", name, group, "committed"))
    for p in range(2):
        equal([v for v in got if int(v.split("-")[1]) % 2 == p], want[p])
    equal(sorted(rows(flink("read", name, group, HOUR_AGO + 1500))), sorted(f"2-{i}" for i in range(20)))
    reader = consumer(group)
    reader.commit(offsets=[TopicPartition(name, 0, 33), TopicPartition(name, 1, 31)], asynchronous=False)
    reader.close()
    equal(sorted(rows(flink("read", name, group, "committed"))), ["2-19"])


def copied(naming, fail):
    """The job fails in the middle, once, and goes on from its last checkpoint by itself."""
    name, target, group = topic("source"), topic("target"), unique("group")
    lines = [str(i) for i in range(2000)]
    send(producer(), name, lines)
    with tempfile.TemporaryDirectory() as dir:
        text = flink("copy", name, target, group, naming, dir, fail)
    equal(int(text.split("copied, seen ")[1]) > 2000, True, "records were replayed")
    equal(read(target), lines, "committed, each once, in order")
    every = read(target, isolation="read_uncommitted")
    equal(len(every) > 2000, True, "what the failed attempt had sent was aborted")
    reader = consumer(group)
    offset = reader.committed([TopicPartition(name, 0)], 10)[0].offset
    equal(0 < offset <= 2000, True, f"offset committed with the checkpoints: {offset}")
    reader.close()


@case(seconds=120)
def sink_incrementing():
    copied("INCREMENTING", 1100)


@case(seconds=120)
def sink_pooling():
    copied("POOLING", 1100)


def killed(naming):
    """The process is killed; a new one goes on from the last checkpoint and ends what was open."""
    name, target, group = topic("source"), topic("target"), unique("group")
    lines = [str(i) for i in range(4000)]
    send(producer(), name, lines)

    def start(count):
        """Runs until `count` more committed records are seen, then kills; answers what it said."""
        words = [str(w) for w in (*program, "copy", name, target, group, naming, dir, 0)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            try:
                said = process.stdout.readline()
                take(reader, count, seconds=50)
            finally:
                process.kill()
        return said

    reader = consumer(isolation_level="read_committed")
    reader.assign([TopicPartition(target, 0, 0)])
    with tempfile.TemporaryDirectory() as dir:
        contains(start(700), "starts anew")
        seen = len(read(target, wait=False))
        equal(700 <= seen < 4000, True, f"killed in the middle, at {seen}")
        contains(start(3300), "goes on from")
    reader.close()
    equal(read(target, wait=False), lines, "committed, each once, in order")


@case(seconds=150)
def killed_incrementing():
    killed("INCREMENTING")


@case(seconds=150)
def killed_pooling():
    killed("POOLING")


main("flink")
