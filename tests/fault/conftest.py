"""A night to break."""

from __future__ import annotations

import pytest

from tests.fault.night import Night


@pytest.fixture
def night(system, customer, sftp_folder, smtp_sink):
    """A tenant after its first night, with the second file on its server, on SQLite and on PostgreSQL."""
    night = Night(system, customer, sftp_folder, smtp_sink)
    try:
        night.prepare()
        yield night
    finally:
        night.close()
