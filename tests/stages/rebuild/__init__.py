"""Tests of the rebuild stage."""
