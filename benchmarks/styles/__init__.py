"""StyleBench: how near each method comes to six styles of known truth, at equal cost and, where possible, equal size.

python -m benchmarks.styles             what is still missing, row by row; safe to end at any time
python -m benchmarks.styles --report    docs/comparison.md and its pictures from the rows there are
python -m benchmarks.styles --base stable-diffusion-v1-5/stable-diffusion-v1-5 --device cuda --out PAGE

A row is one training in a process of its own. It waits while another benchmark times something.
"""
