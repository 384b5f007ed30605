"""Deploys an image to Cloud Run: a revision without traffic, questions to it, traffic in steps.

`rollout.py` has the order of the steps and the way back, `service.py` the state on Cloud Run,
`candidate.py` the questions over HTTP, `service_file.py` the settings, `gcloud.py` the only call.
"""
