"""Watch the service: dashboards, the client of Prometheus, made-up traffic, drills and checks."""
