"""The rows of a topic as Spark's Python types, from the JSON lines of a case.

A value is read as crates/formats/src/json reads it: a missing field is NULL, BINARY is base64, a
TIMESTAMP without a zone is in UTC. Inputs of cases are good (the Rust harness refuses others), so
a value that does not fit its column is an error here too. Late rows are left out where the case
counts some. Read next: late.py, session.py.
"""

import base64
import datetime
import decimal
import json
import re
import zlib

from pyspark.sql import types

import late

decimal.getcontext().prec = 80
HIDDEN = types.StructType([
    types.StructField("_partition", types.IntegerType(), False),
    types.StructField("_offset", types.LongType(), False),
    types.StructField("_key", types.BinaryType()),
    types.StructField("_arrived", types.TimestampType(), False),
])
# The clock of the Rust harness.
ARRIVED = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def of_topic(topic, case, queries):
    """(schema, rows) of a topic, with hidden columns if a query names one."""
    lines = [line for name, lines in case.inputs if name == topic.name for line in lines]
    rows = [row(topic, json.loads(l, parse_float=decimal.Decimal)) for l in lines]
    hidden = [name for name in HIDDEN.names if any(mentions(q, name) for q in queries)]
    schema = types.StructType(topic.schema.fields + [HIDDEN[name] for name in hidden])
    beside = places(topic, rows, hidden) if hidden else [()] * len(rows)
    kept = late.kept(topic, rows, queries) if case.late else [True] * len(rows)
    return schema, [r + b for r, b, keep in zip(rows, beside, kept) if keep], kept.count(False)


def row(topic, values):
    return tuple(value(values.get(f.name), f.dataType, f.nullable) for f in topic.schema)


def value(json_value, data_type, nullable=True):
    if json_value is None:
        if not nullable:
            raise ValueError("a value is missing in a column that is NOT NULL")
        return None
    match data_type:
        case types.ArrayType():
            return [value(item, data_type.elementType) for item in json_value]
        case types.StructType():
            return tuple(value(json_value.get(f.name), f.dataType) for f in data_type)
        case types.DecimalType():
            return exact(decimal.Decimal(json_value), data_type)
        case types.FloatType() | types.DoubleType():
            return float(json_value)
        case types.BinaryType():
            return base64.b64decode(json_value, validate=True)
        case types.DateType():
            return datetime.date.fromisoformat(json_value)
        case types.TimestampType():
            time = datetime.datetime.fromisoformat(json_value)
            return time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)
        case types.TimestampNTZType():
            return datetime.datetime.fromisoformat(json_value)
    return json_value


def exact(number, data_type):
    scaled = number.quantize(decimal.Decimal(1).scaleb(-data_type.scale))
    if scaled != number or len(scaled.as_tuple().digits) > data_type.precision:
        raise ValueError(f"{number} does not fit into {data_type.simpleString()}")
    return scaled


def mentions(query, name):
    return re.search(rf"\b{name}\b", query) is not None


def places(topic, rows, hidden):
    """The hidden columns of each row. With several partitions a row's place follows from its key;
    not the same place as in Watershed, so a case can only ask whether places are equal."""
    if topic.partitions > 1 and not topic.key:
        raise ValueError("hidden columns of a topic whose rows are spread without a key")
    ends = [0] * topic.partitions
    found = []
    for r in rows:
        key = r[topic.schema.names.index(topic.key)] if topic.key else None
        key = None if key is None else str(key).encode()
        partition = zlib.crc32(key or b"") % topic.partitions
        place = (partition, ends[partition], key, ARRIVED)
        ends[partition] += 1
        found.append(tuple(place[HIDDEN.names.index(name)] for name in hidden))
    return found
