"""What people see: the console, figures, and scores of predictions."""
