"""Takes SCIM calls of identity providers, translates them once, and hands them to the directory."""
