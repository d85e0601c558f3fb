"""Expands the loops of the template and prints it as JSON, as CloudFormation's AWS::LanguageExtensions would.

    python -m tools.expand_template [--template FILE] [Parameter=value ...]

Parameters that are not given have their defaults. The contract tests and the checkers read the template this way, by the
same code that expands it on the local AWS.
"""

import argparse
import json
from pathlib import Path

from ministack.services.cloudformation import language_extensions
from samcli.yamlhelper import yaml_parse

TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"


def expand(text, parameters):
    """Returns the template with its loops expanded.

    Raises ValueError for a parameter that the template does not have, or a loop that cannot be expanded.
    """
    template = yaml_parse(text)
    declared = template["Parameters"]
    unknown = parameters.keys() - declared.keys()
    if unknown:
        raise ValueError(f"the template has no parameter {', '.join(sorted(unknown))}")
    values = {name: str(parameter.get("Default", "")) for name, parameter in declared.items()}
    return language_extensions.apply(template, values | parameters)


def _pair(text):
    name, found, value = text.partition("=")
    if not found:
        raise ValueError(f"{text!r}: expected Parameter=value")
    return name, value


def main():
    """Prints the expanded template."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--template", type=Path, default=TEMPLATE)
    arguments.add_argument("parameters", nargs="*", metavar="Parameter=value")
    given = arguments.parse_args()
    try:
        parameters = dict(map(_pair, given.parameters))
        print(json.dumps(expand(given.template.read_text(encoding="utf-8"), parameters)))
    except (OSError, ValueError) as error:
        arguments.error(str(error))


if __name__ == "__main__":
    main()
