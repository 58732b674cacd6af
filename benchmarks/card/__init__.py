"""Checks that need a graphics card: real trainings on full-size networks with random weights.

python -m benchmarks.card                    all checks on an NVIDIA card, in less than ten minutes
python -m benchmarks.card --device cpu       the same code on tiny networks, as far as a CPU goes
"""
