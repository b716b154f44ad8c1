"""ApiKeyService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc
from muster.directory.v1 import api_keys_pb2 as pb
from muster.directory.v1 import api_keys_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Resources, Servicer, timestamp
from services.directory.operations import api_keys
from services.directory.operations.access_tokens import AccessTokens
from services.directory.rules import names, tokens
from services.directory.rules.errors import InvalidArgument
from services.directory.store.provisioning_tables import ApiKey, KeyKind


class ApiKeyServicer(Servicer, api_keys_pb2_grpc.ApiKeyServiceServicer):
    """Issues, rotates and revokes keys and clients' secrets of SCIM connections, and gives access tokens for those."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self._access_tokens = AccessTokens(self.store, self.pepper)

    def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: grpc.ServicerContext) -> pb.CreateApiKeyResponse:
        """Make a key, or a client's secret, for a SCIM source."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source, field="source")
        caller = access.require(context, tenant_id)
        kind = _kind(request.kind)

        def work(session: Session, now: datetime) -> pb.CreateApiKeyResponse:
            issued = api_keys.create_key(
                session,
                tenant_id,
                source_id,
                request.expires_days,
                kind=kind,
                pepper=self.pepper,
                actor=caller.actor,
                now=now,
            )
            return pb.CreateApiKeyResponse(
                api_key=_message(issued.key, now), secret=issued.secret, client_id=_client_id(issued.key)
            )

        return self.write_once(request, context, tenant_id, pb.CreateApiKeyResponse, work)

    def ListApiKeys(self, request: pb.ListApiKeysRequest, context: grpc.ServicerContext) -> pb.ListApiKeysResponse:
        """Page through a source's keys."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source, field="source")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = api_keys.list_keys(session, tenant_id, source_id, after_number=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda key: (key.number,))
        now = self.clock()
        return pb.ListApiKeysResponse(api_keys=[_message(key, now) for key in kept], next_page_token=token)

    def RotateApiKey(self, request: pb.RotateApiKeyRequest, context: grpc.ServicerContext) -> pb.RotateApiKeyResponse:
        """Make a key in the place of another."""
        tenant_id, source_id, key_id = names.parse_api_key(request.name, field="name")
        caller = access.require(context, tenant_id)
        overlap = request.overlap_hours if request.HasField("overlap_hours") else api_keys.OVERLAP_HOURS

        def work(session: Session, now: datetime) -> pb.RotateApiKeyResponse:
            issued = api_keys.rotate_key(
                session,
                tenant_id,
                source_id,
                key_id,
                overlap,
                pepper=self.pepper,
                actor=caller.actor,
                now=now,
            )
            return pb.RotateApiKeyResponse(
                api_key=_message(issued.key, now), secret=issued.secret, client_id=_client_id(issued.key)
            )

        return self.write_once(request, context, tenant_id, pb.RotateApiKeyResponse, work)

    def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: grpc.ServicerContext) -> pb.RevokeApiKeyResponse:
        """End a key at once."""
        tenant_id, source_id, key_id = names.parse_api_key(request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.RevokeApiKeyResponse:
            key = api_keys.revoke_key(session, tenant_id, source_id, key_id, actor=caller.actor, now=now)
            return pb.RevokeApiKeyResponse(api_key=_message(key, now))

        return self.write_once(request, context, tenant_id, pb.RevokeApiKeyResponse, work)

    def FindApiKey(self, request: pb.FindApiKeyRequest, context: grpc.ServicerContext) -> pb.FindApiKeyResponse:
        """Find a key by its id alone."""
        access.require(context, 0)
        if not tokens.is_id(request.key_id):  # perhaps a whole key: it is not repeated
            raise InvalidArgument(
                [("key_id", f"must be the {tokens.ID_LENGTH} characters after mst_scim_ or mst_sec_")]
            )
        with self.store.read(None) as session:
            return pb.FindApiKeyResponse(api_key=_message(api_keys.find_key(session, request.key_id), self.clock()))

    def IssueAccessToken(
        self,
        request: pb.IssueAccessTokenRequest,
        context: grpc.ServicerContext,  # noqa: ARG002 - the call needs no token, so that there is no caller
    ) -> pb.IssueAccessTokenResponse:
        """Give a bearer token for a client's secret."""
        issued = self._access_tokens.issue(
            request.client_id, request.client_secret, request.lifetime_minutes, now=self.clock()
        )
        return pb.IssueAccessTokenResponse(access_token=issued.token, expires_in=issued.lifetime_s)


def _kind(given: int) -> KeyKind:
    if given not in {0, *KeyKind}:
        raise InvalidArgument([("kind", "must be KEY or CLIENT_SECRET")])
    return KeyKind(given or KeyKind.KEY)


def _client_id(key: ApiKey) -> str:
    return names.client_id_of(key.source_id) if key.kind == KeyKind.CLIENT_SECRET else ""


def _message(key: ApiKey, now: datetime) -> pb.ApiKey:
    return pb.ApiKey(
        name=names.format_api_key(key.tenant_id, key.source_id, key.key_id),
        key_id=key.key_id,
        state=pb.ApiKeyState.ValueType(api_keys.state_of(key, now)),
        create_time=timestamp(key.create_time),
        expire_time=timestamp(key.expire_time) if key.expire_time else None,
        last_used_time=timestamp(key.last_used_time) if key.last_used_time else None,
        kind=pb.ApiKeyKind.ValueType(key.kind),
    )
