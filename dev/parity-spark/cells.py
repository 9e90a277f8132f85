"""Values of Spark as the text that case files have, and the comparison of rows.

The text is that of Arrow's display (crates/engine/tests/parity.rs, `rows`). Exact for all types
but floats, which may differ by 1e-9 of their size. Rows are a multiset.
"""

import datetime
import struct

from pyspark.sql import types

FLOATS = (types.FloatType, types.DoubleType)


def text(value, data_type):
    if value is None:
        return "NULL"
    match data_type:
        case types.BooleanType():
            return "true" if value else "false"
        case types.DecimalType():
            return f"{value:.{data_type.scale}f}"
        case types.DoubleType():
            return number(value, repr)
        case types.FloatType():
            return number(value, shortest)
        case types.BinaryType():
            return bytes(value).hex()
        case types.TimestampType():
            return time(value) + "Z"
        case types.TimestampNTZType():
            return time(value)
        case types.ArrayType():
            return "[" + ", ".join(text(v, data_type.elementType) for v in value) + "]"
        case types.StructType():
            pairs = zip(data_type, value)
            return "{" + ", ".join(f"{f.name}: {text(v, f.dataType)}" for f, v in pairs) + "}"
    return str(value)


def time(value: datetime.datetime):
    """Three or six digits after the second, only where needed."""
    digits = "auto" if not value.microsecond else "milliseconds"
    if value.microsecond % 1000:
        digits = "microseconds"
    elif digits == "auto":
        digits = "seconds"
    return value.replace(tzinfo=None).isoformat(timespec=digits)


def number(value, digits):
    if value != value:
        return "NaN"
    if abs(value) == float("inf"):
        return "inf" if value > 0 else "-inf"
    return digits(value).replace("e+", "e")


def shortest(value):
    """The fewest digits that give this 32-bit float."""
    texts = (f"{value:.{n}g}" for n in range(1, 10))
    return next(t for t in texts if struct.pack("f", float(t)) == struct.pack("f", value))


def row_cells(row, schema):
    return [text(v, f.dataType) for v, f in zip(row, schema)]


def compare(rows, schema, expected):
    """None, or (missing, unexpected) rows as text."""
    floats = [isinstance(f.dataType, FLOATS) for f in schema]
    left = list(expected)
    unexpected = []
    for cells in sorted((row_cells(r, schema) for r in rows), key="|".join):
        line = "|".join(cells)
        found = line if line in left else next((e for e in left if same(cells, e, floats)), None)
        if found is None:
            unexpected.append(line)
        else:
            left.remove(found)
    return (left, unexpected) if left or unexpected else None


def same(cells, expected, floats):
    wanted = expected.split("|")
    if len(wanted) != len(cells):
        return False
    return all(a == e or f and near(a, e) for a, e, f in zip(cells, wanted, floats))


def near(a, b):
    try:
        a, b = float(a), float(b)
    except ValueError:
        return False
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
