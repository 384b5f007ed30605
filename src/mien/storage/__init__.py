"""Where files lie, how they are written, and the versions of raw data."""
