"""What cargo says is read aright: which packages are third-party, and which it has compiled."""

import json
import subprocess
import unittest

from tools import one_build

TOKIO = "registry+https://github.com/rust-lang/crates.io-index#tokio@1.54.1"
OURS = "path+file:///tributary/functions/transform#0.1.0"


def artifact(package, fresh, *features):
    return json.dumps({"reason": "compiler-artifact", "package_id": package, "features": features, "fresh": fresh})


class OneBuild(unittest.TestCase):
    def test_third_party_artifacts_are_read(self):
        lines = [artifact(TOKIO, True, "rt"), artifact(OURS, False), "   Compiling transform", '{"reason": "build-finished", "success": true}']

        self.assertEqual(list(one_build.parse(lines)), [("tokio@1.54.1", {"rt"}, True)])

    def test_compiler_answers_and_refuses_to_compile(self):
        asked = [subprocess.run([one_build.REFUSE, "echo", argument, "lib.rs"], capture_output=True, text=True, check=False)
                 for argument in ("-vV", "--edition=2024")]

        self.assertEqual([(it.returncode, it.stdout) for it in asked], [(0, "-vV lib.rs\n"), (1, "")])

    def test_rebuilt_package_is_named_with_its_features(self):
        known = {"tokio@1.54.1": {frozenset({"rt", "time"})}}
        built = ("tokio@1.54.1", frozenset({"rt"}), False)

        self.assertEqual(one_build.describe("cargo build", built, known), "cargo build compiles tokio@1.54.1 again without time")
        self.assertIsNone(one_build.describe("cargo build", built[:2] + (True,), known))


if __name__ == "__main__":
    unittest.main()
