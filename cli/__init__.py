"""The operator's command `muster`: a gRPC client like any other, and everything on one machine."""
