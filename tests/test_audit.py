"""The audit of pinned packages: a vulnerability stops a check, and a missing network does not."""

import json

from tools.audit import verdict


def test_a_vulnerability_is_named_with_its_remedy() -> None:
    answer = {
        "dependencies": [
            {"name": "good", "version": "1", "vulns": []},
            {"name": "bad", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]},
            {"name": "odd", "skip_reason": "not found"},
        ]
    }
    message, code = verdict(json.dumps(answer))
    assert code == 1
    assert message.splitlines() == [
        "bad 2: X-1, fixed in 3",
        "audit: 1 vulnerabilities in 2 packages, 1 could not be looked up",
    ]


def test_without_an_answer_the_check_goes_on() -> None:
    message, code = verdict(None)
    assert code == 0 and "skipped" in message
