"""`muster scim-key`: shown once, rotated, revoked."""

import pytest
from google.protobuf import timestamp_pb2
from muster.directory.v1 import api_keys_pb2
from muster.runtime.errors import RpcError

SOURCE = "tenants/ten_1/sources/src_1"
NAME = f"{SOURCE}/apiKeys/0123456789ab"
KEY = api_keys_pb2.ApiKey(
    name=NAME,
    key_id="0123456789ab",
    kind=api_keys_pb2.API_KEY_KIND_KEY,
    state=api_keys_pb2.API_KEY_STATE_ROTATED,
    create_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
    expire_time=timestamp_pb2.Timestamp(seconds=1_700_086_400),
)


def test_a_new_key_is_shown_once(services, muster):
    services.answer("CreateApiKey", api_keys_pb2.CreateApiKeyResponse(api_key=KEY, secret="mst_scim_x"))
    shown = muster("scim-key", "create", "--source", SOURCE, "--expires-days", "90")
    assert shown.document == {"key": "mst_scim_x", "key_id": "0123456789ab"}
    assert "once" in shown.err
    (request,) = services.requests("CreateApiKey")
    assert (request.source, request.expires_days) == (SOURCE, 90)
    assert request.request_id


def test_keys_are_listed_without_their_secrets(services, muster):
    services.answer("ListApiKeys", api_keys_pb2.ListApiKeysResponse(api_keys=[KEY]))
    assert muster("scim-key", "list", "--source", SOURCE).document == {
        "keys": [
            {
                "key_id": "0123456789ab",
                "kind": "key",
                "state": "rotated",
                "created": "2023-11-14T22:13:20Z",
                "expires": "2023-11-15T22:13:20Z",
                "last_used": None,
            }
        ]
    }


@pytest.mark.parametrize(("options", "overlap"), [((), None), (("--overlap-hours", "0"), 0)])
def test_a_key_is_rotated_by_its_id_alone(services, muster, options, overlap):
    services.answer("FindApiKey", api_keys_pb2.FindApiKeyResponse(api_key=KEY))
    made = api_keys_pb2.ApiKey(key_id="ba9876543210")
    services.answer("RotateApiKey", api_keys_pb2.RotateApiKeyResponse(api_key=made, secret="mst_scim_y"))
    shown = muster("scim-key", "rotate", "0123456789ab", *options)
    assert shown.document == {"key": "mst_scim_y", "key_id": "ba9876543210"}
    assert services.requests("FindApiKey")[0].key_id == "0123456789ab"
    (request,) = services.requests("RotateApiKey")
    assert request.name == NAME
    assert (request.overlap_hours if request.HasField("overlap_hours") else None) == overlap


def test_a_key_is_revoked_by_its_full_name_without_looking_it_up(services, muster):
    revoked = api_keys_pb2.ApiKey(key_id="0123456789ab", state=api_keys_pb2.API_KEY_STATE_REVOKED)
    services.answer("RevokeApiKey", api_keys_pb2.RevokeApiKeyResponse(api_key=revoked))
    shown = muster("scim-key", "revoke", NAME)
    assert (shown.document["key_id"], shown.document["state"]) == ("0123456789ab", "revoked")
    assert services.requests("FindApiKey") == []
    assert services.requests("RevokeApiKey")[0].name == NAME


def test_a_key_whose_time_is_over_says_what_to_do(services, muster, capsys):
    class OverError(RpcError):
        reason = "KEY_STATE"

    services.answer("RotateApiKey", OverError("the key is revoked"))
    assert muster("scim-key", "rotate", NAME).status == 1
    assert "muster scim-key create --source SOURCE" in capsys.readouterr().err


def test_a_clients_secret_is_shown_with_its_client_id(services, muster):
    made = api_keys_pb2.CreateApiKeyResponse(api_key=KEY, secret="mst_sec_x", client_id="00007a")
    services.answer("CreateApiKey", made)
    shown = muster("scim-key", "create", "--source", SOURCE, "--kind", "client-secret")
    assert shown.document == {"key": "mst_sec_x", "key_id": "0123456789ab", "client_id": "00007a"}
    assert services.requests("CreateApiKey")[0].kind == api_keys_pb2.API_KEY_KIND_CLIENT_SECRET
