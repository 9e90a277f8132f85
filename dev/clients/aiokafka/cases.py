"""aiokafka, pure Python: produce, transactions, groups, seek, offsets by time, admin."""

import asyncio
import functools
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from aiokafka import (  # noqa: E402
    AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition,
)
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete  # noqa: E402
from aiokafka.errors import KafkaError, ProducerFenced, TopicAlreadyExistsError  # noqa: E402
from harness import BOOTSTRAP, HOUR_AGO, case, equal, main, settled, topic, unique  # noqa: E402


def async_case(function):
    @functools.wraps(function)
    def whole():
        asyncio.run(function())

    return case(whole)


def producer(**config):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **config)


def consumer(*names, **config):
    base = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
    return AIOKafkaConsumer(*names, bootstrap_servers=BOOTSTRAP, **(base | config))


async def send(name, lines, partition=0, **config):
    async with producer(**config) as client:
        sent = [await client.send(name, line.encode(), partition=partition) for line in lines]
        return [(await future).offset for future in sent]


async def take(client, count, seconds=20):
    got = []
    async with asyncio.timeout(seconds):
        while len(got) < count:
            for messages in (await client.getmany(timeout_ms=200, max_records=count - len(got))).values():
                got += messages
    return got


def values(messages):
    return [m.value.decode() for m in messages]


async def read(name, isolation="read_committed"):
    """All of a topic of one partition."""
    settled(name)
    async with consumer(isolation_level=isolation) as client:
        part = TopicPartition(name, 0)
        client.assign([part])
        end = (await client.end_offsets([part]))[part]
        await client.seek_to_beginning(part)
        got = []
        async with asyncio.timeout(20):
            while await client.position(part) < end:
                for messages in (await client.getmany(timeout_ms=200)).values():
                    got += values(messages)
        return got


@async_case
async def produce_consume():
    name = topic()
    lines = [str(i) for i in range(2000)]
    equal(await send(name, lines, linger_ms=5), list(range(2000)))
    equal(await read(name), lines)


@async_case
async def idempotent():
    name = topic(partitions=2)
    lines = [str(i) for i in range(1000)]
    equal(await send(name, lines, enable_idempotence=True), list(range(1000)))
    equal(await read(name), lines)


@async_case
async def compression():
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = topic(codec)
        lines = [f"{codec} {'w' * 200} {i}" for i in range(500)]
        await send(name, lines, compression_type=codec, linger_ms=20)
        equal(await read(name), lines, codec)


@async_case
async def keys_headers_and_time():
    name = topic(partitions=3)
    async with producer() as client:
        sent = await client.send_and_wait(
            name, b"value", b"key", timestamp_ms=HOUR_AGO, headers=[("color", b"blue")])
        again = await client.send_and_wait(name, None, b"key")
        equal((again.partition, again.offset), (sent.partition, 1), "one key, one partition")
    async with consumer(name) as client:
        first, second = await take(client, 2)
        equal((first.key, first.value, first.headers), (b"key", b"value", (("color", b"blue"),)))
        equal((first.timestamp, first.timestamp_type), (HOUR_AGO, 0))
        equal((second.key, second.value), (b"key", None))


@async_case
async def transactions():
    name = topic()
    async with producer(transactional_id=unique("txn")) as client:
        async with client.transaction():
            await client.send_and_wait(name, b"a")
            await client.send_and_wait(name, b"b")
        await client.begin_transaction()
        await client.send_and_wait(name, b"aborted")
        await client.abort_transaction()
        async with client.transaction():
            await client.send_and_wait(name, b"c")
    equal(await read(name), ["a", "b", "c"])
    equal(await read(name, "read_uncommitted"), ["a", "b", "aborted", "c"])


@async_case
async def fencing():
    name, txn = topic(), unique("txn")
    old, new = producer(transactional_id=txn), producer(transactional_id=txn)
    await old.start()
    await old.begin_transaction()
    await old.send_and_wait(name, b"old")
    await new.start()
    async with new.transaction():
        await new.send_and_wait(name, b"new")
    try:
        await old.send_and_wait(name, b"late")
        await old.commit_transaction()
    except ProducerFenced as e:
        print("as it should:", e)
    else:
        raise AssertionError("the old instance was not fenced")
    await new.stop()
    try:
        await old.stop()
    except KafkaError as e:
        print("stopping the fenced one:", e)
    equal(await read(name), ["new"])


@async_case
async def consume_transform_produce():
    source, target, group = topic("source"), topic("target"), unique("group")
    await send(source, [str(i) for i in range(30)])
    async with producer(transactional_id=unique("txn")) as client:
        for commit in (True, False, True, True):
            async with consumer(source, group_id=group, isolation_level="read_committed") as reader:
                batch = await take(reader, 10)
                await client.begin_transaction()
                for m in batch:
                    await client.send(target, m.value)
                offsets = {TopicPartition(source, 0): batch[-1].offset + 1}
                await client.send_offsets_to_transaction(offsets, group)
                if commit:
                    await client.commit_transaction()
                else:
                    await client.abort_transaction()
    equal(await read(target), [str(i) for i in range(30)])


@async_case
async def group_commits_and_resumes():
    name, group = topic(), unique("group")
    await send(name, [str(i) for i in range(10)])
    async with consumer(name, group_id=group) as client:
        await take(client, 4)
        await client.commit()
        await take(client, 3)
    async with consumer(name, group_id=group) as client:
        equal(await client.committed(TopicPartition(name, 0)), 4)
        equal(values(await take(client, 6)), [str(i) for i in range(4, 10)])


class Noted(ConsumerRebalanceListener):
    def __init__(self):
        self.owned = set()

    async def on_partitions_revoked(self, revoked):
        self.owned -= {p.partition for p in revoked}

    async def on_partitions_assigned(self, assigned):
        self.owned = {p.partition for p in assigned}


@async_case
async def group_of_two():
    name, group = topic(partitions=4), unique("group")
    members, notes, tasks, seen = [], [], [], []

    async def until(probe):
        async with asyncio.timeout(20):
            while not probe():
                await asyncio.sleep(0.05)

    async def poll(member):
        async for message in member:
            seen.append(message.value.decode())

    for _ in range(2):
        member = consumer(group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=300)
        note = Noted()
        member.subscribe([name], listener=note)
        await member.start()
        members.append(member)
        notes.append(note)
        tasks.append(asyncio.create_task(poll(member)))
    await until(lambda: [len(n.owned) for n in notes] == [2, 2])
    equal(sorted(notes[0].owned | notes[1].owned), [0, 1, 2, 3])
    for p in range(4):
        await send(name, [f"{p}-{i}" for i in range(20)], p)
    await until(lambda: len(seen) >= 80)
    equal(sorted(seen), sorted(f"{p}-{i}" for p in range(4) for i in range(20)))
    tasks[1].cancel()
    await members[1].stop()
    await until(lambda: len(notes[0].owned) == 4)
    tasks[0].cancel()
    await members[0].stop()


@async_case
async def seek_and_times():
    name, part = topic(), None
    async with producer() as client:
        for i in range(10):
            await client.send_and_wait(name, str(i).encode(), timestamp_ms=HOUR_AGO + i * 1000)
    async with consumer() as client:
        part = TopicPartition(name, 0)
        client.assign([part])
        equal(await client.beginning_offsets([part]), {part: 0})
        equal(await client.end_offsets([part]), {part: 10})
        found = (await client.offsets_for_times({part: HOUR_AGO + 4500}))[part]
        equal((found.offset, found.timestamp), (5, HOUR_AGO + 5000))
        equal((await client.offsets_for_times({part: HOUR_AGO + 900_000}))[part], None)
        client.seek(part, 7)
        equal(values(await take(client, 3)), ["7", "8", "9"])
        await client.seek_to_beginning(part)
        equal(values(await take(client, 2)), ["0", "1"])
        await client.seek_to_end(part)
        start = time.monotonic()
        await send(name, ["new"])
        equal(values(await take(client, 1)), ["new"])
        equal(time.monotonic() - start < 5, True, "woken in time")


@async_case
async def administration():
    name = unique("topic")
    client = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await client.start()
    try:
        await client.create_topics([NewTopic(name, 2, 1)])
        equal(name in await client.list_topics(), True)
        try:
            done = await client.create_topics([NewTopic(name, 2, 1)])
            equal(done.topic_errors[0][1], TopicAlreadyExistsError.errno)
        except TopicAlreadyExistsError as e:
            print("as it should:", e)
        await client.create_partitions({name: NewPartitions(4)})
        found = await client.describe_topics([name])
        equal(len(found[0]["partitions"]), 4)
        await send(name, [str(i) for i in range(5)])
        await client.delete_records({TopicPartition(name, 0): RecordsToDelete(before_offset=3)})
        equal(await read(name), ["3", "4"])
        await client.delete_topics([name])
        async with asyncio.timeout(15):
            while name in await client.list_topics():
                await asyncio.sleep(0.2)
    finally:
        await client.close()


main("aiokafka")
