"""Which score of a step deserves trust: scores that see no truth, compared with the truth on runs of every kind.

python -m benchmarks.scoring            what is still missing, run by run; safe to end at any time
python -m benchmarks.scoring --report   docs/scoring.md from the runs there are

A run is one training and the pictures of its states (steps × strengths); the pictures stay in outputs/, and the report
measures them, so that a new score needs no new training.
"""
