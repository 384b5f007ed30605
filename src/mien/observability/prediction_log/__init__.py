"""The prediction log: one row for each prediction, and the feedback of users on it.

`schema.py` has the record types, `sqlite.py` and `postgresql.py` the databases behind
`database.py`, `location.py` the choice of one, `spool.py` the file of rows that wait for it,
`writer.py` the log that a server writes, `reader.py` a look-up from another process.
"""
