"""Runs cases on Spark and says for each whether its rows are those of the case file.

`ok`: the same · `known`: another result, the one that known.txt names · `FAILED`: another result
that known.txt does not name, or the same one although it names a difference.
Read next: session.py (Spark), case_file.py, definitions.py, rows.py (inputs), cells.py (results).
"""

import argparse
import sys
import time

import case_file
import cells
import lists
import session

MINIMUM = 600  # a list that was cut down by mistake must not pass


def main():
    parser = argparse.ArgumentParser(prog="run")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a part of a case's name")
    parser.add_argument("--left-out", action="store_true", help="try what cases.txt leaves out")
    parser.add_argument("--spark-rows", action="store_true", help="print what Spark gives")
    options = parser.parse_args()
    chosen, left_out = lists.cases()
    known = lists.known()
    if strange := sorted(set(known) - set(chosen)):
        sys.exit(f"known.txt names cases that are not run: {', '.join(strange)}")
    if len(chosen) < MINIMUM:
        sys.exit(f"cases.txt runs {len(chosen)} cases only, fewer than {MINIMUM}")
    wanted = dict.fromkeys(left_out) if options.left_out else chosen
    if options.cases:
        wanted = {n: c for n, c in wanted.items() if any(part in n for part in options.cases)}
    if not wanted:
        sys.exit("no case has such a name")
    counts = run_all(wanted, known, options)
    print(f"{len(wanted)} cases on Spark: {counts['ok']} agree, "
          f"{counts['known']} known differences, {counts['FAILED']} failed")
    new = sorted(set(case_file.names()) - set(chosen) - set(left_out))
    print(f"{len(left_out)} left out with a reason, {len(new)} not in cases.txt")
    for name in new:
        print(f"  not in cases.txt: {name}")
    sys.exit(1 if counts["FAILED"] else 0)


def run_all(wanted, known, options):
    counts = {"ok": 0, "known": 0, "FAILED": 0}
    spark = session.open_session()
    print(f"Spark {spark.version}")
    try:
        for name, condition in sorted(wanted.items()):
            start = time.monotonic()
            word, lines, got = judged(spark, name, condition, known.get(name))
            counts[word] += 1
            print(f"{word} {name} {time.monotonic() - start:.1f} s", flush=True)
            if options.spark_rows:
                lines = lines + ["Spark gives:"] + [f"    {line}" for line in got]
            for line in lines:
                print(f"  {line}")
    finally:
        spark.stop()
    return counts


def judged(spark, name, condition, known):
    """(word, lines that explain it, what Spark gives)."""
    case = case_file.read(name)
    expected = [f"! {condition}"] if case.error else case.expected
    try:
        rows, schema = session.run(spark, case)
        got = sorted("|".join(cells.row_cells(row, schema)) for row in rows)
        failure = None
    except session.Failure as e:
        rows, schema, got, failure = None, None, [f"! {e.condition}"], str(e)
    except ValueError as e:
        return "FAILED", [f"cannot be brought to Spark: {e}"], []

    def difference(from_these):
        if failure or case.error:
            return None if got == from_these else (from_these, got)
        return cells.compare(rows, schema, from_these)

    found = difference(expected)
    said = [failure] if failure else []
    if not found:
        return ("FAILED", ["is in known.txt, but does not differ"], got) if known else ("ok", [], got)
    if known and not difference(known.lines):
        return "known", [known.reason], got
    missing, unexpected = found
    text = said + ["missing on Spark:"] + [f"    {line}" for line in missing]
    text += ["only on Spark:"] + [f"    {line}" for line in unexpected]
    if known:
        text = ["differs in another way than known.txt says"] + text
    return "FAILED", text, got


main()
