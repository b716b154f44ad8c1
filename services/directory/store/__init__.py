"""What is kept: tables, transactions and locks, ids, events, migrations."""
