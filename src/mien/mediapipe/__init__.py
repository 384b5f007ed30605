"""Runs MediaPipe's published networks, and fetches their weights."""
