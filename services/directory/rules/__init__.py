"""Pure functions and tables: what the product says, with nothing about how it is kept."""
