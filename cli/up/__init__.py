"""Everything on one machine: the services as child processes, and what they need to be given."""
