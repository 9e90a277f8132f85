"""Reads the definitions of a case: `CREATE TOPIC` and `CREATE MATERIALIZED VIEW`.

Only what the cases use; another statement is an error, so that nothing is left out in silence.
Read next: rows.py, which makes the rows of a topic.
"""

import re
from dataclasses import dataclass

from pyspark.sql import types

SIMPLE = {
    "BOOLEAN": types.BooleanType(), "TINYINT": types.ByteType(), "SMALLINT": types.ShortType(),
    "INT": types.IntegerType(), "BIGINT": types.LongType(), "FLOAT": types.FloatType(),
    "DOUBLE": types.DoubleType(), "TEXT": types.StringType(), "BINARY": types.BinaryType(),
    "DATE": types.DateType(), "TIMESTAMP": types.TimestampType(),
    "TIMESTAMP_NTZ": types.TimestampNTZType(),
}
TOPIC = re.compile(r"CREATE\s+TOPIC\s+(\w+)\s*\((.*?)\)\s*(?:WITH\s*\(([^()]*)\))?\s*$", re.S)
VIEW = re.compile(r"CREATE\s+MATERIALIZED\s+VIEW\s+(\w+)\s+AS\s+(.*)$", re.S)
COLUMN = re.compile(r'("(?:[^"]|"")+"|\w+)\s+(.*?)(\s+NOT\s+NULL)?$', re.S)
WATERMARK = re.compile(
    r"""WATERMARK\s+FOR\s+"?(\w+)"?\s+AS\s+"?(\w+)"?\s+-\s+INTERVAL\s+('[^']+'(?:\s+\w+)?)$"""
)
UNITS = {
    "microsecond": 1, "millisecond": 1000, "second": 10**6, "minute": 60 * 10**6,
    "hour": 3600 * 10**6, "day": 86400 * 10**6, "week": 7 * 86400 * 10**6,
}


@dataclass
class Topic:
    name: str
    schema: types.StructType
    partitions: int = 1
    key: str | None = None
    event_time: str | None = None  # the column of the watermark
    delay: int = 0  # microseconds


@dataclass
class View:
    name: str
    query: str


def read(text):
    """The topics and views of a section `create`, in their order."""
    return [statement(s.strip()) for s in split(text, ";") if s.strip()]


def statement(text):
    if m := VIEW.match(text):
        return View(m[1], m[2])
    m = TOPIC.match(text)
    if not m:
        raise ValueError(f"neither a topic nor a view: {text}")
    topic = Topic(m[1], types.StructType())
    for part in split(m[2], ","):
        column(topic, part.strip())
    for option in split(m[3] or "", ","):
        name, _, value = (s.strip() for s in option.partition("="))
        if name == "partitions":
            topic.partitions = int(value)
        elif name == "key":
            topic.key = value.strip("'")
        elif name:
            raise ValueError(f"option '{name}' of topic '{topic.name}'")
    return topic


def column(topic, text):
    if m := WATERMARK.match(text):
        if m[1] != m[2]:
            raise ValueError(text)
        topic.event_time, topic.delay = m[1], duration(m[3].replace("'", ""))
        return
    m = COLUMN.match(text)
    if not m:
        raise ValueError(f"no column: {text}")
    name = m[1][1:-1].replace('""', '"') if m[1].startswith('"') else m[1]
    topic.schema.add(name, spark_type(m[2]), nullable=not m[3])


def spark_type(text):
    text = text.strip()
    if m := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", text):
        return types.DecimalType(int(m[1]), int(m[2]))
    if m := re.fullmatch(r"ARRAY<(.*)>", text, re.S):
        return types.ArrayType(spark_type(m[1]))
    if m := re.fullmatch(r"STRUCT<(.*)>", text, re.S):
        fields = (f.split(":", 1) for f in split(m[1], ","))
        return types.StructType([types.StructField(n.strip().strip('"'), spark_type(t)) for n, t in fields])
    if text not in SIMPLE:
        raise ValueError(f"unknown type '{text}'")
    return SIMPLE[text]


def duration(text):
    """`2 minutes` in microseconds."""
    number, unit = text.split()
    return int(number) * UNITS[unit.lower().removesuffix("s")]


def split(text, separator):
    """Cuts where `separator` stands outside of quotes, (…) and <…>."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif separator != ";" and c in "(<":
            depth += 1
        elif separator != ";" and c in ")>":
            depth -= 1
        elif c == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return parts + [text[start:]]
