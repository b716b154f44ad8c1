"""A source's settings: parsed to what is kept, and named in update masks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from muster.directory.v1 import sources_pb2

from services.directory.rules import source_settings as settings
from services.directory.rules.checks import InvalidValueError
from services.directory.rules.drops import drop_password, drop_username, password_sha256

OUTPUT_ONLY = {"name", "kind", "state", "last_run", "etag", "create_time", "next_run_time"}
OUTPUT_ONLY |= {"guard_trip_time", "detach_time"}
TEXT_PARSERS = [
    settings.parse_host,
    settings.parse_host_key,
    settings.parse_path,
    settings.parse_group_separator,
    settings.parse_region,
    settings.parse_nightly_time,
    settings.parse_time_zone,
    settings.parse_username,
]


def test_every_field_of_the_contract_is_a_setting_or_output_only():
    named = {path.split(".")[0] for path in settings.PARSERS}
    assert named | OUTPUT_ONLY == {field.name for field in sources_pb2.Source.DESCRIPTOR.fields}
    endpoint = {path.split(".")[1] for path in settings.PARSERS if path.startswith("sftp.")}
    assert endpoint == {field.name for field in sources_pb2.SftpEndpoint.DESCRIPTOR.fields}
    assert set(settings.LIMIT_NAMES) == {field.name for field in sources_pb2.Limits.DESCRIPTOR.fields}


def test_a_mask_may_name_a_setting_a_family_or_all():
    assert settings.expand("region") == ["region"]
    assert settings.expand("limits.delete") == ["limits.delete.percent", "limits.delete.floor"]
    assert len(settings.expand("limits")) == 16
    assert settings.expand("*") == list(settings.PARSERS)
    assert settings.expand("state") == settings.expand("limit") == settings.expand("") == []


@given(parser=st.sampled_from(TEXT_PARSERS), value=st.text())
def test_any_text_is_parsed_or_refused_and_what_is_parsed_parses_to_itself(parser, value):
    try:
        parsed = parser(value)
    except InvalidValueError:
        return
    assert parser(parsed) == parsed


@pytest.mark.parametrize("name", ["Office — Åre & Co.", "", "日本", "a" * 300, "--"])
def test_a_drops_login_is_plain_and_short_whatever_the_tenant_is_called(name):
    login = drop_username(name, 2**40)
    assert login.isascii()
    assert login.replace("-", "").isalnum()
    assert len(login) <= 40
    assert login != drop_username(name, 2**40 + 1)


def test_a_drops_password_is_24_bytes_as_text():
    assert len(drop_password(bytes(24))) == 32
    assert len(password_sha256("x")) == 32
