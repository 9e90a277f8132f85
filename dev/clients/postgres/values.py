"""values.py PORT: values through psycopg2 and psycopg 3 come back as they went in, whatever is
in them, and are never read as SQL. Needs a topic t (id INT, s TEXT) with the one event
{"id":1,"s":"plain"}; `run` starts a server that has it."""
import sys

import psycopg
import psycopg2

DSN = f"host=127.0.0.1 port={sys.argv[1]} user=any dbname=any"
VALUES = (
    r"C:\new\table", "a\\", r"\' OR 1=1 -- ", r"\\' OR 1=1 -- ", "it's", "100 %", "$$ $1 $x$",
    "; DROP TOPIC t; --", "/* \" ` é", "a\nb\r\n", "\\x00ff",
)
BYTES = (b"\x00\xff\\'", b"")


def check(name, cursor):
    for value in VALUES:
        cursor.execute("SELECT %s", (value,))
        got = cursor.fetchone()[0]
        assert got == value, (name, value, got)
        cursor.execute("SELECT id FROM t WHERE s = %s", (value,))
        assert cursor.fetchall() == [], (name, value)
        cursor.execute("SELECT id FROM t WHERE s <> %s AND id = %s", (value, 1))
        assert cursor.fetchall() == [(1,)], (name, value)
    for value in BYTES:
        cursor.execute("SELECT %s", (value,))
        got = bytes(cursor.fetchone()[0])
        assert got == value, (name, value, got)
    print("ok", name)


with psycopg2.connect(DSN) as connection:
    connection.autocommit = True
    check("psycopg2", connection.cursor())
with psycopg.connect(DSN, autocommit=True) as connection:
    check("psycopg3", connection.cursor())
    check("psycopg3/binary", connection.cursor(binary=True))
with psycopg.connect(DSN, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
    check("psycopg3/client-side", connection.cursor())
