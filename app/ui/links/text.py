"""What the page behind a read-only link says."""

BEFORE, NEWEST = "Before training", "Newest"
NO_PICTURES = "The first pictures appear here soon."
MADE_WITH = "Trained with Velatura"
