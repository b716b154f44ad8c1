"""Measure Muster against what the database alone could do, in the same run: ratios, never promises in seconds."""
