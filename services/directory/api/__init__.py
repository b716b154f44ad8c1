"""One servicer a file: request → operation → answer; no rule and no SQL."""
