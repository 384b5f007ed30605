"""A trained model: folder, session, smaller variants, lineage, policy."""
