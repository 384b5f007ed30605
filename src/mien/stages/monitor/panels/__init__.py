"""Which panels there are: one file for each page of Grafana, data only.

What is not said there (description, unit) comes from the metrics table.
"""

from mien.stages.monitor.panels import data, model, overview, server

DASHBOARDS = (overview.PAGE, model.PAGE, data.PAGE, server.PAGE)
