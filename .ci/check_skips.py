"""Fails when a test was skipped for a reason that is not on the list: a missing library must not pass as success."""

import sys
from xml.etree import ElementTree

ALLOWED = ("shared folder absent",)  # tests that need a GPU are not selected


def main(report: str) -> int:
    bad = []
    for case in ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        reason = "" if skipped is None else skipped.get("message", "")
        if skipped is not None and not any(allowed in reason for allowed in ALLOWED):
            bad.append(f"{case.get('classname')}.{case.get('name')}: {reason or 'no reason'}")
    for line in bad:
        print(f"skipped, but should run: {line}")
    if bad:
        print(f"allowed reasons: {', '.join(ALLOWED)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
