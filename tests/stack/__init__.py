"""Stand the system up for tests: one interface over containers and over plain local processes."""
