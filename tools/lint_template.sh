#!/usr/bin/env bash
# Runs the three checkers of the template, with no network and no credentials: `sam validate --lint`, cfn-lint with the
# serverless rules, and checkov. Exits 1 when any of them has a finding. tools/lint_exceptions.toml has the findings that
# we disagree with, each with its reason.
#
#     tools/lint_template.sh [TEMPLATE]
#
# checkov reads the template as CloudFormation would get it, with its loops expanded: it does not look inside SAM's own
# resources and would miss a policy of Action '*' or an open function URL there.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
template=$(realpath "${1:-$root/template.yaml}")
bin=${TRIBUTARY_VENV:-$root/.venv}/bin
if [ ! -x "$bin/sam" ]; then
    echo "no tools in $bin: run make setup" >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"  # so that no samconfig.toml and no .checkov.yaml lying about takes part

# boto3 wants a region and keys even where nothing is sent; these can open nothing.
export AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL
export SAM_CLI_TELEMETRY=0 LOG_LEVEL=ERROR

failed=0
report() {  # name, exit code, file with the findings
    if [ "$2" -eq 0 ]; then
        printf '%-9s %s\n' "$1" "ok${4:+  ($4)}"
    else
        printf '%-9s %s\n' "$1" "findings:"
        sed 's/^/          /' "$3"
        failed=1
    fi
}

code=0
"$bin/sam" validate --lint --language-extensions --template "$template" >sam.txt 2>&1 || code=$?
report sam "$code" sam.txt

ignored=$("$bin/python" -c 'import sys, tomllib
print(",".join(it["rule"] for it in tomllib.load(open(sys.argv[1], "rb"))["cfn-lint"]))' "$root/tools/lint_exceptions.toml")
code=0
"$bin/cfn-lint" --append-rules cfn_lint_serverless.rules --ignore-checks "$ignored" --format parseable -- "$template" \
    >cfn-lint.txt 2>&1 || code=$?
report cfn-lint "$code" cfn-lint.txt

code=0
PYTHONPATH=$root "$bin/python" - "$template" "$root/tools/lint_exceptions.toml" >expand.txt 2>&1 <<'PYTHON' || code=$?
"""Expand the template into expanded.json, with the exceptions of each type of resource in its resources."""
import json
import sys
import tomllib
from pathlib import Path

from samtranslator.translator.transform import transform
from tools.expand_template import expand


class NoManagedPolicies:
    """Every role here is written out, so there is no managed policy to look up in an account."""

    def load(self):
        return {}


template = expand(Path(sys.argv[1]).read_text(encoding="utf-8"), {})
template["Transform"] = "AWS::Serverless-2016-10-31"
# A local path is not a valid CodeUri for the translator; `sam deploy` would have put an S3 address here.
template.get("Globals", {}).get("Function", {})["CodeUri"] = "s3://bucket/key"
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::Serverless::Function":
        resource["Properties"].pop("CodeUri", None)
expanded = transform(template, {}, NoManagedPolicies())
for exception in tomllib.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))["checkov"]:
    skip = {"id": exception["check"], "comment": exception["reason"]}
    for resource in expanded["Resources"].values():
        if resource["Type"] == exception["type"]:
            checkov = resource.setdefault("Metadata", {}).setdefault("checkov", {"skip": []})
            checkov["skip"].append(skip)
Path("expanded.json").write_text(json.dumps(expanded, indent=1), encoding="utf-8")
PYTHON
if [ "$code" -ne 0 ]; then
    report checkov "$code" expand.txt
else
    "$bin/checkov" --file expanded.json --framework cloudformation --skip-download --skip-results-upload \
        --download-external-modules false --compact --output json >checkov.json 2>checkov.err || true
    "$bin/python" - "$root/tools/lint_exceptions.toml" >checkov.txt 2>&1 <<'PYTHON' || code=$?
"""One line a finding; fails on a finding, on an exception that excepts nothing, and on a run that checked nothing."""
import json
import sys
import tomllib

with open("checkov.json", encoding="utf-8") as file:
    report = json.load(file)
with open(sys.argv[1], "rb") as file:
    exceptions = tomllib.load(file)["checkov"]
faults = [f"{it['check_id']:<16} {it['resource']}: {it['check_name']}" for it in report["results"]["failed_checks"]]
used = {it["check_id"] for it in report["results"]["skipped_checks"]}
faults += [f"{it['check']:<16} is an exception that nothing needs" for it in exceptions if it["check"] not in used]
for fault in faults:
    print(fault)
summary = report["summary"]
if summary["passed"] == 0 or summary["parsing_errors"]:
    print(f"checkov checked nothing or could not read the template: {summary}")
    sys.exit(1)
if faults:
    sys.exit(1)
print(f"{summary['passed']} checks passed")
PYTHON
    report checkov "$code" checkov.txt "$(tail -n 1 checkov.txt)"
fi

exit "$failed"
