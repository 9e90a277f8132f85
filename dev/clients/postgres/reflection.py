"""What tools ask first: SQLAlchemy's reflection over psycopg 2 and 3, pandas, an asyncpg pool, and
the statements with which Npgsql hands a connection back. Argument: the port."""
import asyncio
import sys

import asyncpg
import pandas
import psycopg
import sqlalchemy

port = sys.argv[1]
failed = []


def check(what, got, wanted):
    if got != wanted:
        failed.append(what)
        print(f"{what}: {got!r}, wanted {wanted!r}")


for driver in ("psycopg2", "psycopg"):
    engine = sqlalchemy.create_engine(f"postgresql+{driver}://me@127.0.0.1:{port}/any")
    inspector = sqlalchemy.inspect(engine)
    check(f"{driver} tables", sorted(inspector.get_table_names()), ["dead_letters", "t"])
    columns = [(c["name"], str(c["type"])) for c in inspector.get_columns("t")]
    check(f"{driver} columns", columns[:2], [("id", "INTEGER"), ("s", "TEXT")])
    for of_table in ("get_pk_constraint", "get_foreign_keys", "get_indexes", "get_table_comment",
                     "get_unique_constraints", "get_check_constraints"):
        getattr(inspector, of_table)("t")
    inspector.get_view_names()
    inspector.get_schema_names()
    check(f"{driver} has_table", inspector.has_table("t"), True)
    table = sqlalchemy.Table("t", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(table.c.id, table.c.s)).all()
        check(f"{driver} rows", [tuple(r) for r in rows], [(1, "plain")])
        nested = connection.begin_nested()
        nested.rollback()
        twice = connection.execute(sqlalchemy.text("SELECT 1 AS a, 2 AS a, 3, 3")).one()
        check(f"{driver} two of one name", tuple(twice), (1, 2, 3, 3))
    frame = pandas.read_sql("SELECT id, s FROM t", engine)
    check(f"{driver} pandas", frame.to_dict("list"), {"id": [1], "s": ["plain"]})
    check(f"{driver} read_sql_table", len(pandas.read_sql_table("t", engine)), 1)


async def pool():
    async with asyncpg.create_pool(host="127.0.0.1", port=int(port), user="me", database="any",
                                   min_size=1, max_size=3) as connections:
        for _ in range(5):
            async with connections.acquire() as connection:
                row = await connection.fetchrow("SELECT id, s FROM t WHERE id = $1", 1)
                check("asyncpg row", tuple(row), (1, "plain"))
        async with connections.acquire() as connection, connection.transaction():
            try:
                async with connection.transaction():
                    await connection.fetch("SELECT nothing_like_it FROM t")
            except asyncpg.UndefinedColumnError:
                pass
            check("asyncpg after a savepoint", await connection.fetchval("SELECT 7"), 7)


asyncio.run(pool())

with psycopg.connect(f"host=127.0.0.1 port={port} user=me dbname=any", autocommit=True) as c:
    for reset in ("CLOSE ALL", "UNLISTEN *", "SELECT pg_advisory_unlock_all()", "RESET ALL",
                  "DISCARD SEQUENCES", "DISCARD TEMP", "DISCARD ALL", "DEALLOCATE ALL"):
        c.execute(reset)
    with c.cursor().copy("COPY (SELECT id, s FROM t) TO STDOUT") as copy:
        check("COPY", b"".join(copy), b"1\tplain\n")
    with c.cursor().copy("COPY t (s, id) TO STDOUT WITH (FORMAT csv, HEADER)") as copy:
        check("COPY csv", b"".join(copy), b"s,id\nplain,1\n")

sys.exit(1 if failed else 0)
