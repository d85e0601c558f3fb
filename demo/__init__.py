"""Drives Tributary on a local AWS: deploy, feed, follow, settle the books, take down.

The stack is the real one: the template that `sam deploy` takes to AWS, the release binaries as
functions, MiniStack as the AWS they talk to. This package stands outside it and measures: it counts
the rows of the input by itself, reads the streams, the layers, the queue, CloudWatch and Athena as
any user could, and believes none of the functions' own counts where it can look.

`python -m demo --help` lists the verbs; the Makefile has a target for each.
"""
