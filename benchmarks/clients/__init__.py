"""Whether other programs draw with every method's files what the trainer drew: a check, and a table.

python -m benchmarks.clients                what is still missing, method by method; safe to end at any time
python -m benchmarks.clients --only oft     of this method alone
python -m benchmarks.clients --report       docs/clients.md from what there is

Each method is trained for a few steps by its preset. A process that has none of our code then loads the files as
`how-to-load.txt` says and draws the run's last pictures, which must be the same.
"""
