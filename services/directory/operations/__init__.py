"""One function per RPC, one transaction each."""
