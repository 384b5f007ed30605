"""Monitoring of the service: dashboards, a Prometheus client, test traffic, drills and checks."""
