"""mien reads two signs of a person in a picture: the emotion of a face, the gesture of a hand."""

__version__ = "0.1.0"
