"""Runs Tributary on a local AWS: deploys it, feeds it, follows the run, reconciles the rows, takes it down.

The stack is the real one: the template that `sam deploy` deploys to AWS, the release binaries as functions, and
MiniStack as their AWS. This package measures from outside: it counts the rows of the input itself, and reads the
streams, the layers, the queue, CloudWatch and Athena as any user could. It uses the functions' own counts only where
nothing else shows a result.

`python -m demo --help` lists the verbs; the Makefile has a target for each.
"""
