#!/usr/bin/env python3
"""Writes managed-policies.tsv: the AWS-managed policies that `managed.rs` serves.

    import.py POLICIES.json.gz LISTING.json > managed-policies.tsv

POLICIES.json.gz maps a policy's name to {"version", "created", "document"}. LISTING.json has the form that
`aws iam list-policies --scope AWS` prints; only names and paths are read from it. A policy that the listing lacks is
left out, because its ARN is then unknown (AWS has retired it); the names left out go to standard error.

One line a policy, sorted by ARN: ARN, default version, creation time, document, separated by tabs.
"""

import gzip
import json
import sys


def main():
    policies_file, listing_file = sys.argv[1:]
    policies = json.load(gzip.open(policies_file))
    with open(listing_file) as listing:
        paths = {policy["PolicyName"]: policy["Path"] for policy in json.load(listing)["Policies"]}
    lines = []
    for name, policy in policies.items():
        if name not in paths:
            print(f"left out: {name}", file=sys.stderr)
            continue
        document = json.dumps(policy["document"], separators=(",", ":"), ensure_ascii=False)
        fields = [f"arn:aws:iam::aws:policy{paths[name]}{name}", policy["version"], policy["created"], document]
        assert all("\t" not in field and "\n" not in field for field in fields), name
        lines.append("\t".join(fields))
    # By bytes, as the reader's binary search compares.
    lines.sort(key=lambda line: line.split("\t")[0].encode())
    sys.stdout.write("".join(line + "\n" for line in lines))


main()
