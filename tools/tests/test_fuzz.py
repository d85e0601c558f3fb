"""Parsing of libFuzzer's log."""

import unittest

from tools import fuzz

DONE = """INFO: seed corpus: files: 70 min: 2b max: 1024b total: 9982b rss: 54Mb
#71	INITED cov: 6756 ft: 11025 corp: 61/8925b exec/s: 0 rss: 58Mb
#128	NEW    cov: 6760 ft: 11031 corp: 62/9kb lim: 1024 exec/s: 0 rss: 58Mb L: 52/1024 MS: 1 EraseBytes-
#57790	DONE   cov: 8013 ft: 20112 corp: 818/90kb lim: 4096 exec/s: 19263 rss: 80Mb
Done 57790 runs in 3 second(s)
stat::number_of_executed_units: 57790
stat::average_exec_per_sec:     19263
"""

FOUND = """#26	INITED cov: 3514 ft: 6000 corp: 25/23Kb exec/s: 0 rss: 60Mb
test failed; shrinking input...
==7== ERROR: libFuzzer: deadly signal
artifact_prefix='target/fuzz/objects/'; Test unit written to target/fuzz/objects/crash-90c9
stat::number_of_executed_units: 555
"""


class Figures(unittest.TestCase):
    def test_complete_run_has_executions_and_edges(self):
        self.assertEqual(fuzz.figures(DONE), {
            "executions": 57790, "edges_before": 6756, "edges": 8013, "kept": 818, "found": None})

    def test_finding_is_named_with_its_executions(self):
        self.assertEqual(fuzz.figures(FOUND), {
            "executions": 555, "edges_before": 3514, "edges": 3514, "kept": 25,
            "found": "target/fuzz/objects/crash-90c9"})

    def test_empty_log_has_no_figures(self):
        self.assertEqual(fuzz.figures("linker error\n"), {
            "executions": 0, "edges_before": 0, "edges": 0, "kept": 0, "found": None})


if __name__ == "__main__":
    unittest.main()
