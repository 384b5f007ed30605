"""MediaPipe's networks that find faces and hands, run by ONNX Runtime without MediaPipe.

Shared by the tasks, which may not import each other. The networks are MediaPipe's; the code around
them is mien's own, and the tests compare its results with MediaPipe's.
"""
