"""Rules as this driver reads them: what holds of which event, and what it leaves to others."""

import unittest

from demo import rules

EVENT = {
    "dataset": "flood", "entity": "river-1", "event_id": "e1", "event_time": "2026-01-01T01:30:00Z",
    "measures": {"level": 3.0}, "attributes": {"stage": "danger"}, "tags": ["stage_danger"],
}


def holds(text):
    return rules.holds(rules.parse(text), EVENT)


class Expressions(unittest.TestCase):
    def test_comparisons_and_what_joins_them(self):
        for text in (
            "event.measures.level >= 3.0", 'event.attributes.stage == "danger" && event.measures.level < 4', "!(event.measures.level > 3)",
            "'stage_danger' in event.tags", "event.attributes.stage in ['danger', 'warning'] || false", "event.measures.level != -3.0",
            "has(event.measures.level)", "event.attributes.stage != 'a && b'",
        ):
            with self.subTest(text):
                self.assertTrue(holds(text))

    def test_a_field_that_is_not_there_makes_it_false_unless_another_side_decides(self):
        for text in ("event.measures.x > 1", "!(event.measures.x > 1)", "event.measures.x > 1 && true", "has(event.measures.x)"):
            with self.subTest(text):
                self.assertFalse(holds(text))
        self.assertTrue(holds("event.measures.x > 1 || event.measures.level > 1"))

    def test_what_is_not_known_is_not_judged(self):
        for text in ("event.tags.exists(t, t == 'x')", "event.measures.level + 1 > 2", "1 < 2 < 3", "x > 1", "a ? b : c", "size(event.tags) > 1"):
            with self.subTest(text), self.assertRaises(rules.Unjudged):
                rules.parse(text)


class Alerts(unittest.TestCase):
    def test_the_rules_of_the_repository_are_judged(self):
        found = rules.load()

        self.assertIn("severe-accident", found.judged)

    def test_events_of_one_key_and_period_are_one_group(self):
        rule = rules.Rule("r", "flood", rules.parse("event.measures.level > 1"), "{entity}/{attributes.stage}", 3600)
        found = rules.Rules({"r": rule}, [])
        later = {**EVENT, "event_id": "e2", "event_time": "2026-01-01T01:59:59Z"}
        after = {**EVENT, "event_id": "e3", "event_time": "2026-01-01T02:00:00Z"}

        self.assertEqual(len(found.expected([EVENT, later])), 1)
        self.assertEqual(len(found.expected([EVENT, later, after])), 2)
        self.assertEqual(found.expected([{**EVENT, "dataset": "covid"}]), set())

    def test_an_alert_has_the_id_that_the_functions_give_it(self):
        rule = rules.Rule("hot", "accidents", rules.parse("true"), "{entity}", 3600)
        event = {**EVENT, "entity": "OH/Montgomery", "event_time": "2026-11-20T10:00:00Z"}

        # That of the snapshot of `an_alert_says_what_people_need`.
        self.assertEqual(rule.alert_id(event), "ea89f0412838048fa34f7e61e9083bc1")


if __name__ == "__main__":
    unittest.main()
