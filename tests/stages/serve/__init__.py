"""Tests of serving; a package, so that its `conftest` and its modules have names of their own."""
