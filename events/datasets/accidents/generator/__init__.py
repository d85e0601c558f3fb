"""The parts of make.py: places, rows, a reference reader, bad cases, whole-file cases, gzip."""
