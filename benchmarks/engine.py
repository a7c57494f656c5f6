"""The plain engine, as a program of its own: what a person would write by hand for one move. Prints its seconds.

python engine.py csv FILE DUCKDB
python engine.py postgres URL DUCKDB
"""

import os
import sys
import threading
import time

import duckdb
import psycopg

TYPES = {
    "id": "BIGINT",
    "customer": "BIGINT",
    "name": "VARCHAR",
    "city": "VARCHAR",
    "amount": "DECIMAL(12,2)",
    "ratio": "DOUBLE",
    "is_paid": "BOOLEAN",
    "day": "DATE",
    "at": "TIMESTAMP",
    "note": "VARCHAR",
}


def load_csv(path, store):
    """CREATE TABLE AS over the CSV reader, types guessed."""
    store.execute(f"CREATE TABLE rows AS SELECT * FROM read_csv('{path}')")


def load_postgres(url, store):
    """COPY as CSV through a pipe into CREATE TABLE AS, types given."""
    read, write = os.pipe()

    def copy():
        with (
            psycopg.connect(url) as source,
            os.fdopen(write, "wb") as sink,
            source.cursor().copy("COPY rows TO STDOUT (FORMAT csv)") as lines,
        ):
            for block in lines:
                sink.write(block)

    thread = threading.Thread(target=copy)
    thread.start()
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items()) + "}"
    store.execute(f"CREATE TABLE rows AS SELECT * FROM read_csv('/dev/fd/{read}', header=false, columns={columns})")
    thread.join()


if __name__ == "__main__":
    kind, source, target = sys.argv[1:]
    started = time.perf_counter()
    with duckdb.connect(target) as connection:
        {"csv": load_csv, "postgres": load_postgres}[kind](source, connection)
    print(time.perf_counter() - started)
