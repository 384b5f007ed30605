"""Tests of the pages in a browser; a package, so that the browser ends with its tests."""
