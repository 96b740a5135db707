"""What tests ask about processes."""

import os
import time

import pytest


def assert_group_ends(group, patience_s=10):
    """Fail unless every process of a group ends soon."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("processes are left behind")
