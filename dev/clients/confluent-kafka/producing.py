"""confluent-kafka: idempotent producer, reading back, timestamps, positions."""

import time

from records import consumer, producer, read, send, take, values
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import KafkaException, TopicPartition
from harness import HOUR_AGO, case, equal, topic


@case
def idempotent_producer():
    name = topic(partitions=3)
    client = producer(enable_idempotence=True, linger_ms=5, batch_num_messages=100)
    for p in range(3):
        offsets = send(client, name, [f"{p}-{i}" for i in range(2000)], partition=p)
        equal(sorted(offsets), list(range(2000)))
    equal(read(name, 3), [f"{p}-{i}" for p in range(3) for i in range(2000)])


@case
def every_acks():
    for acks in ("0", "1", "all"):
        name = topic(f"acks-{acks}")
        client = producer(acks=acks)
        for i in range(10):
            client.produce(name, f"{i}")
        equal(client.flush(20), 0)
        time.sleep(0.5 if acks == "0" else 0)
        equal(read(name), [str(i) for i in range(10)])


@case
def every_compression():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        name = topic(codec)
        want = [f"{codec} {'y' * 300} {i}" for i in range(1000)]
        send(producer(compression_type=codec, linger_ms=50, enable_idempotence=True), name, want)
        equal(read(name, check_crcs=True), want, codec)


@case
def keys_headers_and_time():
    name = topic()
    client = producer()
    headers = [("color", b"blue"), ("color", b"red"), ("none", None), ("bytes", b"\x00\xff")]
    client.produce(name, b"\x00\x01", b"\xfe", headers=headers, timestamp=HOUR_AGO)
    client.produce(name, None, "gone")
    equal(client.flush(20), 0)
    reader = consumer()
    reader.assign([TopicPartition(name, 0, 0)])
    first, second = take(reader, 2)
    equal((first.key(), first.value(), first.headers()), (b"\xfe", b"\x00\x01", headers))
    equal(first.timestamp(), (TIMESTAMP_CREATE_TIME, HOUR_AGO))
    equal((second.key(), second.value(), second.headers()), (b"gone", None, None))
    reader.close()


@case
def log_append_time():
    name = topic(message_timestamp_type="LogAppendTime")
    client = producer()
    client.produce(name, "x", timestamp=1_000)
    client.flush(20)
    reader = consumer()
    reader.assign([TopicPartition(name, 0, 0)])
    kind, stamp = take(reader, 1)[0].timestamp()
    equal(kind, TIMESTAMP_LOG_APPEND_TIME)
    equal(abs(stamp / 1000 - time.time()) < 60, True)
    reader.close()


@case
def watermarks_and_times():
    name = topic()
    client = producer()
    for i in range(10):
        client.produce(name, str(i), timestamp=HOUR_AGO + i * 1000)
    client.flush(20)
    reader = consumer()
    equal(reader.get_watermark_offsets(TopicPartition(name, 0), 10), (0, 10))

    def at(millis):
        return reader.offsets_for_times([TopicPartition(name, 0, millis)], 10)[0].offset

    equal([at(0), at(HOUR_AGO), at(HOUR_AGO + 4500), at(HOUR_AGO + 9000)], [0, 0, 5, 9])
    equal(at(HOUR_AGO + 9001), -1, "after the last record: the end")
    reader.close()


@case
def seek_pause_resume():
    name = topic(partitions=2)
    for p in range(2):
        send(producer(), name, [f"{p}-{i}" for i in range(20)], partition=p)
    reader = consumer()
    one = TopicPartition(name, 1)
    reader.assign([TopicPartition(name, 0, 15), TopicPartition(name, 1, 18)])
    equal(sorted(values(take(reader, 7))), sorted([f"0-{i}" for i in range(15, 20)] + ["1-18", "1-19"]))
    equal([p.offset for p in reader.position([TopicPartition(name, 0), one])], [20, 20])
    reader.seek(TopicPartition(name, 1, 5))
    equal(values(take(reader, 2)), ["1-5", "1-6"])
    reader.pause([one])
    reader.seek(TopicPartition(name, 0, OFFSET_BEGINNING))
    equal(values(take(reader, 20)), [f"0-{i}" for i in range(20)])
    equal(reader.poll(0.5), None, "a paused partition")
    reader.resume([one])
    equal(values(take(reader, 1)), ["1-7"])
    reader.close()


@case
def offset_out_of_range():
    name = topic()
    send(producer(), name, ["a", "b"])
    reader = consumer(auto_offset_reset="error")
    reader.assign([TopicPartition(name, 0, 50)])
    error, end = None, time.monotonic() + 10
    while error is None and time.monotonic() < end:
        message = reader.poll(0.5)
        error = message.error() if message else None
    equal(error and error.name(), "_AUTO_OFFSET_RESET")
    reader.close()
    reader = consumer(auto_offset_reset="earliest")
    reader.assign([TopicPartition(name, 0, 50)])
    equal(values(take(reader, 2)), ["a", "b"])
    reader.close()


@case
def long_poll_wakes():
    """A record reaches a consumer that waits at the end long before the fetch would time out."""
    name = topic()
    reader = consumer(fetch_wait_max_ms=20_000, auto_offset_reset="latest")
    reader.assign([TopicPartition(name, 0, 0)])
    equal(reader.poll(2), None)
    start = time.monotonic()
    send(producer(linger_ms=0), name, ["now"])
    equal(values(take(reader, 1, seconds=30)), ["now"])
    equal(time.monotonic() - start < 5, True, "woken in time")
    reader.close()


@case
def not_existing():
    import harness

    reader = consumer()
    missing = harness.unique("missing")
    try:
        reader.get_watermark_offsets(TopicPartition(missing, 0), 5)
    except KafkaException as e:
        equal(e.args[0].name() in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION"), True, str(e))
    else:
        raise AssertionError("offsets of a topic that does not exist")
    reader.close()
