"""What is measured and recorded of every answer: metrics, drift, the prediction log."""
