"""Questions about a database: the agent writes SQL, looks at what comes, and mends its query where it was wrong."""

import sqlite3

from actloop import CodeAgent, tool
from model import choose_model

database = sqlite3.connect(":memory:")
database.executescript("""
    CREATE TABLE receipts (id INTEGER PRIMARY KEY, customer TEXT, price REAL, tip REAL);
    INSERT INTO receipts (customer, price, tip) VALUES
        ('Alan Payne', 12.06, 1.20), ('Alex Mason', 23.86, 0.24), ('Woodrow Wilson', 53.43, 5.43),
        ('Margaret James', 21.11, 1.00), ('Alan Payne', 30.00, 6.00);
""")
database.execute("PRAGMA query_only = ON")  # whatever the model writes, nothing is changed


@tool
def query(sql: str) -> list[dict[str, str | float | int | None]]:
    """Runs a SELECT on the database and returns a record for each row.

    There is one table: receipts(id INTEGER, customer TEXT, price REAL, tip REAL).

    Args:
        sql: A query in SQLite's dialect.
    """
    cursor = database.execute(sql)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(100)]


with CodeAgent(tools=[query], model=choose_model()) as agent:
    answer = agent.run("Which customer gave the largest tip in all their receipts together, and how much was it?")
print(answer)
