#!/usr/bin/env bash
# Runs the three checkers of the template, with no network and no credentials: `sam validate --lint`, cfn-lint with the
# serverless rules, and checkov. Exits 1 when any of them has a finding. A finding that we disagree with is suppressed
# in the template, beside its resource, with the reason; nothing is suppressed here.
#
#     tools/lint_template.sh [TEMPLATE]
#
# checkov reads the template as CloudFormation would get it: it does not look inside SAM's own resources and would miss
# a policy of Action '*' or an open function URL there.
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
"$bin/sam" validate --lint --template "$template" >sam.txt 2>&1 || code=$?
report sam "$code" sam.txt

code=0
"$bin/cfn-lint" --append-rules cfn_lint_serverless.rules --format parseable -- "$template" >cfn-lint.txt 2>&1 || code=$?
report cfn-lint "$code" cfn-lint.txt

code=0
"$bin/python" - "$template" >expand.txt 2>&1 <<'PYTHON' || code=$?
"""Expand the SAM template into expanded.json, each resource with the suppressions that stood beside it."""
import json
import sys

from samtranslator.translator.transform import transform
from samcli.yamlhelper import yaml_parse


class NoManagedPolicies:
    """Every role here is written out, so there is no managed policy to look up in an account."""

    def load(self):
        return {}


with open(sys.argv[1], encoding="utf-8") as file:
    template = yaml_parse(file.read())
# A local path is not a valid CodeUri for the translator; `sam deploy` would have put an S3 address here.
template.get("Globals", {}).get("Function", {})["CodeUri"] = "s3://bucket/key"
written = {name: resource.get("Metadata") for name, resource in template["Resources"].items()}
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::Serverless::Function":
        resource["Properties"].pop("CodeUri", None)
expanded = transform(template, {}, NoManagedPolicies())
for name, metadata in written.items():
    if metadata and name in expanded["Resources"]:
        expanded["Resources"][name]["Metadata"] = metadata
with open("expanded.json", "w", encoding="utf-8") as file:
    json.dump(expanded, file, indent=1)
PYTHON
if [ "$code" -ne 0 ]; then
    report checkov "$code" expand.txt
else
    "$bin/checkov" --file expanded.json --framework cloudformation --skip-download --skip-results-upload \
        --download-external-modules false --quiet --compact --output json >checkov.json 2>checkov.err || true
    "$bin/python" - >checkov.txt 2>&1 <<'PYTHON' || code=$?
"""One line a finding; fails on a finding, on a suppression without a reason, and on a run that checked nothing."""
import json
import sys

with open("checkov.json", encoding="utf-8") as file:
    report = json.load(file)
failed = report["results"]["failed_checks"]
for check in failed:
    print(f"{check['check_id']:<16} {check['resource']}: {check['check_name']}")
with open("expanded.json", encoding="utf-8") as file:
    resources = json.load(file)["Resources"]
bare = [
    f"{name}: suppression of {skip['id']} gives no reason"
    for name, resource in resources.items()
    for skip in (resource.get("Metadata") or {}).get("checkov", {}).get("skip", [])
    if not skip.get("comment", "").strip()
]
for line in bare:
    print(line)
summary = report["summary"]
if summary["passed"] == 0 or summary["parsing_errors"]:
    print(f"checkov checked nothing or could not read the template: {summary}")
    sys.exit(1)
if failed or bare:
    sys.exit(1)
print(f"{summary['passed']} checks passed")
PYTHON
    report checkov "$code" checkov.txt "$(tail -n 1 checkov.txt)"
fi

exit "$failed"
