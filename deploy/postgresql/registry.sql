-- PostgreSQL runs this once, in a new volume: the registry's tables apart from the prediction log's.
CREATE DATABASE registry;
