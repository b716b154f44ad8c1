"""One module for each noun of the command line; each command is one question to the services, shown."""
