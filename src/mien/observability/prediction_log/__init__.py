"""The record of every answer, and the feedback on it."""
