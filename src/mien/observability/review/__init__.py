"""Inputs of doubtful answers that wait for people, encrypted, and the labels that people gave.

`sample.py` has the record types, `encryption.py` the cipher, `store.py` the files of the samples,
`labels.py` the file of the labels. Nothing is here unless `MIEN_REVIEW` says so.
"""
