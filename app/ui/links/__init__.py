"""The page behind a read-only link to a run, which needs no login."""
