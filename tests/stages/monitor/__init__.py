"""Tests of monitoring; a package, so that `conftest` and modules have names of their own."""
