"""Candidates that start from a public expression network, the one of `starter/face_api.py`.

`detector.py` trains all of it as a detector, `classifier.py` only its last layer.
"""

DETECTOR, CLASSIFIER = "face-api", "face-api-logistic"
CANDIDATES = (DETECTOR, CLASSIFIER)
"""Names in `params.candidates`."""
