"""The fixtures of these tests; `harness.py` holds them, for other folders too."""

import pytest

from harness import *  # noqa: F403

# Faults that are known and not mended yet: each test says what ought to hold. Mend the fault, then take its line away.
KNOWN_FAULTS = {
    "test_the_command_line_copies_moves_and_syncs": "S3: an upload by the command line fails without an ETag in the answer",
    "test_uploads_that_break_off_leave_nothing": "S3: a PUT without Content-Length is taken for an empty object",
    "test_a_body_that_is_not_xml_is_malformed": "S3 looks for the bucket before it reads a configuration",
    "test_an_unsigned_request_is_refused_in_the_words_of_its_service": "S3 answers unsigned requests by policy now",
    "test_the_tables_name_is_a_variable": "conference: the function answers before its new configuration holds",
    "test_a_killed_node_loses_no_accepted_registration": "conference: not proved yet",
    "test_every_operation_is_understood_as_botocore_writes_it[s3-s3-]": "S3: answers of its own that the oracle does not know",
}


def pytest_collection_modifyitems(items):
    for item in items:
        reason = KNOWN_FAULTS.get(item.name) or KNOWN_FAULTS.get(getattr(item, "originalname", None))
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=False))
