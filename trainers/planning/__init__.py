"""Memory needed by runs and by drawing, computed from configs alone, and choices that make them fit."""
