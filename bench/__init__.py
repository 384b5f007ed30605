"""The commands behind the numbers in the docs. Each prints Markdown and writes it below docs/."""
