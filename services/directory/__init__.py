"""The directory: every rule and all register data, behind a gRPC API."""
