"""Which rows of a topic are late: Spark in batch knows no lateness, so they are left out before.

The rule of docs/decisions/0008 for requests of one row each, as the Rust harness sends them: a row
is late when the last of its windows had ended at the watermark that the rows before it gave. If
the query has several windows, one for which the row is late is enough.
"""

import datetime
import re

from definitions import duration

CALL = re.compile(r"\bwindow\(\s*(\w+)\s*((?:,\s*'[^']*'\s*)+)\)", re.I)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def kept(topic, rows, queries):
    """For each row, whether it is in time."""
    windows = [w for q in queries for w in windows_over(topic.event_time, q)]
    column = topic.schema.names.index(topic.event_time)
    watermark, answer = None, []
    for row in rows:
        time = row[column] and (row[column] - EPOCH) // datetime.timedelta(microseconds=1)
        ends = [] if time is None else [last_end(time, *w) for w in windows]
        answer.append(watermark is None or all(end > watermark for end in ends))
        if time is not None:
            mark = time - topic.delay
            watermark = mark if watermark is None else max(mark, watermark)
    return answer


def windows_over(column, query):
    """(size, slide, offset) of each `window(column, …)`."""
    for call in CALL.finditer(query):
        if call[1].lower() == column.lower():
            size, *more = (duration(d) for d in re.findall(r"'([^']*)'", call[2]))
            yield size, more[0] if more else size, more[1] if len(more) > 1 else 0


def last_end(time, size, slide, offset):
    return time - (time - offset) % slide + size
