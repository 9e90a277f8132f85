"""A Spark session with the settings that Watershed's SQL stands for, and a case run in it.

The text of a query goes to Spark as it stands in the case file, but for the translations below.
Read next: cells.py for the results, README.md for why each setting is there.
"""

import logging
import os
import re

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

import definitions
import rows

SETTINGS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.session.timeZone": "UTC",
    # How it runs, not what it means: small, silent, and nothing kept.
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "700m",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.showConsoleProgress": "false",
}
# Spark has no type TEXT; it is STRING there, and Watershed takes both.
TRANSLATIONS = [(re.compile(r"(::\s*|\bAS\s+)TEXT\b", re.I), r"\1STRING")]


class Failure(Exception):
    """What Spark says instead of rows: its error condition and the first line of its message."""

    def __init__(self, condition, message):
        super().__init__(f"{condition}: {message}")
        self.condition = condition


def open_session():
    # pyspark logs each error of a query as JSON, with the stack of Java.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).disabled = True
    scratch = os.environ["WATERSHED_PARITY_SCRATCH"]
    builder = SparkSession.builder.master("local[2]").appName("parity-spark")
    builder = builder.config("spark.sql.warehouse.dir", f"{scratch}/warehouse")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    return spark


def translated(query):
    """The query with the translations made outside of its quoted parts."""
    parts = re.split(r"('(?:[^'\\]|\\.)*'|\"[^\"]*\")", query)
    for i in range(0, len(parts), 2):
        for pattern, replacement in TRANSLATIONS:
            parts[i] = pattern.sub(replacement, parts[i])
    return "".join(parts)


def run(spark, case):
    """(rows, schema) that Spark gives; raises Failure."""
    objects = definitions.read(case.create)
    queries = [o.query for o in objects if isinstance(o, definitions.View)] + [case.view]
    made, late = [], 0
    try:
        for o in objects:
            if isinstance(o, definitions.View):
                frame = spark.sql(translated(o.query))
            else:
                schema, values, left_out = rows.of_topic(o, case, queries)
                frame = spark.createDataFrame(values, schema)
                late += left_out
            frame.createOrReplaceTempView(o.name)
            made.append(o.name)
        # More may be left out here: rows that WHERE drops are not late, and not missed either.
        if late < case.late:
            raise ValueError(f"{case.late} late rows expected, found {late}")
        frame = spark.sql(translated(case.view))
        return frame.collect(), frame.schema
    except PySparkException as e:
        raise Failure(e.getCondition() or type(e).__name__, first_line(e)) from e
    finally:
        for name in made:
            spark.catalog.dropTempView(name)


def first_line(error):
    return str(error).strip().split("\n")[0][:300]
