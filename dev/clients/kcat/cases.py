"""kcat (librdkafka in C, no admin): produce, consume, metadata, groups, offsets by time."""

import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from harness import BOOTSTRAP, case, command, contains, equal, main, settled, topic, unique  # noqa: E402


def kcat(*words, stdin=None, fails=False):
    return command("kcat", "-b", BOOTSTRAP, *words, stdin=stdin, fails=fails)


def produce(name, lines, *words):
    kcat("-P", "-t", name, *words, stdin="".join(f"{line}\n" for line in lines))


def consume(name, *words):
    """All values of a topic up to its end, in the order of offsets."""
    return kcat("-C", "-t", name, "-e", "-q", *words).splitlines()


def rows(name, *words):
    return [json.loads(line) for line in consume(name, "-J", *words)]


@case
def metadata():
    name = topic(partitions=3)
    text = json.loads(kcat("-L", "-J", "-t", name))
    equal([t["topic"] for t in text["topics"]], [name])
    parts = text["topics"][0]["partitions"]
    equal([p["partition"] for p in parts], [0, 1, 2])
    ids = [b["id"] for b in text["brokers"]]
    for p in parts:
        equal((p["leader"] in ids, len(p["replicas"]), len(p["isrs"])), (True, 1, 1))
    every = json.loads(kcat("-L", "-J"))
    equal(name in [t["topic"] for t in every["topics"]], True)
    contains(kcat("-L", "-t", unique("none"), "-X", "allow.auto.create.topics=false"), "Unknown topic")


@case
def auto_create():
    name = unique("auto")
    produce(name, ["first"])
    equal(consume(name), ["first"])


@case
def produce_consume():
    name = topic()
    lines = [f"line {i}" for i in range(1000)]
    produce(name, lines)
    got = rows(name)
    equal([r["payload"] for r in got], lines)
    equal([r["offset"] for r in got], list(range(1000)))
    equal({r["key"] for r in got}, {None})


@case
def keys_and_headers():
    name = topic(partitions=4)
    keys = [f"key{i % 10}:value{i}" for i in range(100)]
    produce(name, keys, "-K:", "-H", "color=blue", "-H", "size=")
    got = rows(name)
    equal(len(got), 100)
    equal(sorted(f"{r['key']}:{r['payload']}" for r in got), sorted(keys))
    for key in {r["key"] for r in got}:
        mine = [r for r in got if r["key"] == key]
        equal(len({r["partition"] for r in mine}), 1, "partitions of one key")
        numbers = [int(r["payload"][5:]) for r in mine]
        equal(numbers, sorted(numbers), "order within one key")
    equal(got[0]["headers"], ["color", "blue", "size", ""])


@case
def tombstones_and_empty_values():
    name = topic()
    produce(name, ["a:1", "a:", ":2"], "-K:", "-Z")
    got = [(r["key"], r["payload"]) for r in rows(name)]
    equal(got, [("a", "1"), ("a", None), (None, "2")])


def compression(codec):
    name = topic()
    lines = [f"{codec} {'x' * 200} {i}" for i in range(2000)]
    produce(name, lines, "-z", codec, "-X", "linger.ms=50")
    equal(consume(name, "-X", "check.crcs=true"), lines)
    equal(consume(name, "-o", "1500", "-c", "3"), lines[1500:1503], "from within a batch")


@case
def gzip():
    compression("gzip")


@case
def snappy():
    compression("snappy")


@case
def lz4():
    compression("lz4")


@case
def zstd():
    compression("zstd")


@case
def large_records():
    name = topic()
    lines = [str(i) * 900_000 for i in range(5)]
    produce(name, lines)
    equal([(v[0], len(v)) for v in consume(name)], [(str(i), 900_000) for i in range(5)])
    too_large = kcat(
        "-P", "-t", name, "-X", "message.max.bytes=3000000", stdin="x" * 2_000_000, fails=True
    )
    contains(too_large, "Message size too large")


@case
def positions():
    name = topic()
    produce(name, [str(i) for i in range(10)])
    equal(consume(name, "-o", "beginning"), [str(i) for i in range(10)])
    equal(consume(name, "-o", "7"), ["7", "8", "9"])
    equal(consume(name, "-o", "-2"), ["8", "9"])
    equal(consume(name, "-o", "end"), [])
    equal(consume(name, "-o", "4", "-c", "2"), ["4", "5"])


@case
def offsets_by_time():
    name = topic()
    produce(name, ["old 1", "old 2"])
    time.sleep(0.1)
    middle = int(time.time() * 1000)
    time.sleep(0.1)
    produce(name, ["new 1", "new 2"])
    equal(consume(name, "-o", f"s@{middle}"), ["new 1", "new 2"])
    equal(consume(name, "-o", "s@0", "-o", f"e@{middle}"), ["old 1", "old 2"])
    equal(kcat("-Q", "-t", f"{name}:0:{middle}").split(), [name, "[0]", "offset", "2"])
    equal(kcat("-Q", "-t", f"{name}:0:-1").split()[-1], "4")
    equal(kcat("-Q", "-t", f"{name}:0:-2").split()[-1], "0")
    stamps = [r["ts"] for r in rows(name)]
    equal(stamps, sorted(stamps))
    equal(abs(stamps[0] - middle) < 60_000, True, "create time is near now")


@case
def group_commits_and_resumes():
    name, group = topic(partitions=2), unique("group")
    settings = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"]

    def read(*words):
        return sorted(kcat("-G", group, name, "-q", *settings, *words).splitlines())

    lines = [f"{i}" for i in range(100)]
    produce(name, lines, "-X", "sticky.partitioning.linger.ms=0")
    equal(read("-e"), sorted(lines))
    equal(read("-e"), [], "after the commit")
    produce(name, ["more 1", "more 2"])
    equal(read("-e"), ["more 1", "more 2"])
    produce(name, ["last 1", "last 2"], "-p", "0")
    first = read("-c", "1")
    equal(first, ["last 1"])
    equal(read("-e"), ["last 2"], "the record after the one taken")


@case
def idempotent():
    name = topic(partitions=2)
    lines = [str(i) for i in range(5000)]
    produce(name, lines, "-X", "enable.idempotence=true", "-p", "1")
    equal(consume(name), lines)


@case
def transactions_and_isolation():
    name = topic()
    settings = ["-X", f"transactional.id={unique('txn')}"]
    produce(name, ["a", "b"], *settings)
    produce(name, ["c"], *settings)
    settled(name)
    equal(consume(name, "-X", "isolation.level=read_committed"), ["a", "b", "c"])
    got = rows(name, "-X", "isolation.level=read_uncommitted")
    equal([r["offset"] for r in got], [0, 1, 3], "a commit marker takes one offset")


@case
def unknown_partition():
    name = topic()
    contains(kcat("-P", "-t", name, "-p", "7", stdin="x\n", fails=True), "Unknown partition")


main("kcat")
