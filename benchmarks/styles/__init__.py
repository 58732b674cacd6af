"""What every method learns of two styles in the same short training: figures, a table and a picture.

python -m benchmarks.styles             what is still missing, row by row; safe to end at any time
python -m benchmarks.styles --report    docs/comparison.md and docs/comparison.webp from the rows there are

A row is one training in a process of its own: a preset on one style, at one learning rate, with one seed. Each preset
is tried at three rates on one style; the one with the best score then serves both styles and every seed.
"""
