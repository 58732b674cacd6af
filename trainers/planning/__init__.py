"""What a run needs in memory, computed from configs alone, and what makes it fit."""
