"""SourceService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message
from muster.directory.v1 import sources_pb2 as pb
from muster.directory.v1 import sources_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, timestamp
from services.directory.api.source_messages import (
    claim_message,
    credentials_of,
    drop_login_record,
    parse_lease,
    parse_worker,
    paths_of,
    settings_of,
    source_message,
)
from services.directory.operations import claims, source_secrets, source_states, sources
from services.directory.operations.detaching import DetachedUsers, detach_source
from services.directory.operations.imports import Imports
from services.directory.operations.replay import Attempt
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.source_settings import PARSERS
from services.directory.store.tables import Source, SourceKind

_KINDS: Final = {
    pb.SOURCE_KIND_UNSPECIFIED: SourceKind.SFTP,
    pb.SOURCE_KIND_SFTP: SourceKind.SFTP,
    pb.SOURCE_KIND_SCIM: SourceKind.SCIM,
}

_USERS: Final = {
    pb.DETACHED_USERS_KEEP_AS_MANUAL: DetachedUsers.KEEP_AS_MANUAL,
    pb.DETACHED_USERS_DELETE: DetachedUsers.DELETE,
}

_RELEASES: Final = {
    pb.RELEASE_REASON_SERVER_AWAY: claims.Release.SERVER_AWAY,
    pb.RELEASE_REASON_TENANT_BUSY: claims.Release.TENANT_BUSY,
    pb.RELEASE_REASON_WORKER_ENDS: claims.Release.WORKER_ENDS,
}

_StepRequest = pb.EnableSourceRequest | pb.DisableSourceRequest | pb.PauseSourceRequest | pb.ResumeSourceRequest
_StepAnswer = TypeVar("_StepAnswer", bound=Message)


class SourceServicer(Servicer, sources_pb2_grpc.SourceServiceServicer):
    """Creates, changes and reads sources."""

    def CreateSource(self, request: pb.CreateSourceRequest, context: grpc.ServicerContext) -> pb.CreateSourceResponse:
        """Make a file's source in trial, with a login when it is a hosted drop, or a SCIM source."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        kind = _KINDS.get(request.source.kind)
        if kind is None:
            raise InvalidArgument([("source.kind", "must be SFTP or SCIM")])
        settings = settings_of(request.source, PARSERS, tenant_id=tenant_id)

        def work(session: Session, now: datetime) -> pb.CreateSourceResponse:
            created = sources.create_source(
                session,
                tenant_id,
                settings,
                credentials_of(request),
                kind=kind,
                seal=self.seal,
                actor=caller.actor,
                now=now,
            )
            login = self._drop_login(created.source, created.drop_password)
            return pb.CreateSourceResponse(source=source_message(created.source), drop_login=login)

        return self.write_once(request, context, tenant_id, pb.CreateSourceResponse, work)

    def GetSource(self, request: pb.GetSourceRequest, context: grpc.ServicerContext) -> pb.GetSourceResponse:
        """Read one source."""
        tenant_id, source_id = names.parse(names.SOURCE, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            source = sources.get_source(session, tenant_id, source_id)
            return pb.GetSourceResponse(source=source_message(source), drop_login=self._drop_login(source))

    def ListSources(self, request: pb.ListSourcesRequest, context: grpc.ServicerContext) -> pb.ListSourcesResponse:
        """Page through a tenant's sources."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = sources.list_sources(session, tenant_id, after_position=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda source: (source.position,))
        return pb.ListSourcesResponse(sources=map(source_message, kept), next_page_token=token)

    def UpdateSource(self, request: pb.UpdateSourceRequest, context: grpc.ServicerContext) -> pb.UpdateSourceResponse:
        """Change the settings that the mask names."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source.name, field="source.name")
        caller = access.require(context, tenant_id)
        credentials = credentials_of(request)
        if not request.update_mask.paths and credentials is None:
            raise InvalidArgument([("update_mask", "names no setting")])
        settings = settings_of(request.source, paths_of(request.update_mask), tenant_id=tenant_id)

        def work(session: Session, now: datetime) -> pb.UpdateSourceResponse:
            source = sources.update_source(
                session,
                tenant_id,
                source_id,
                settings,
                credentials,
                etag=request.source.etag,
                seal=self.seal,
                actor=caller.actor,
                now=now,
            )
            return pb.UpdateSourceResponse(source=source_message(source))

        return self.write_once(request, context, tenant_id, pb.UpdateSourceResponse, work)

    def EnableSource(self, request: pb.EnableSourceRequest, context: grpc.ServicerContext) -> pb.EnableSourceResponse:
        """Give the go-ahead: runs apply from now on."""
        return self._step(request, context, pb.EnableSourceResponse, source_states.enable_source)

    def DisableSource(
        self, request: pb.DisableSourceRequest, context: grpc.ServicerContext
    ) -> pb.DisableSourceResponse:
        """Stop runs of the source."""
        return self._step(request, context, pb.DisableSourceResponse, source_states.disable_source)

    def PauseSource(self, request: pb.PauseSourceRequest, context: grpc.ServicerContext) -> pb.PauseSourceResponse:
        """Stop an enabled source until it is resumed."""
        return self._step(request, context, pb.PauseSourceResponse, source_states.pause_source)

    def ResumeSource(self, request: pb.ResumeSourceRequest, context: grpc.ServicerContext) -> pb.ResumeSourceResponse:
        """Enable a paused source again."""
        return self._step(request, context, pb.ResumeSourceResponse, source_states.resume_source)

    def DetachSource(self, request: pb.DetachSourceRequest, context: grpc.ServicerContext) -> pb.DetachSourceResponse:
        """Part a source from all that it keeps."""
        tenant_id, source_id = names.parse(names.SOURCE, request.name, field="name")
        caller = access.require(context, tenant_id)
        users = _USERS.get(request.users)
        if users is None:
            raise InvalidArgument([("users", "must say whether the users are kept as manual or deleted")])

        def work(session: Session, now: datetime) -> pb.DetachSourceResponse:
            detached = detach_source(session, self._imports, tenant_id, source_id, users, actor=caller.actor, now=now)
            return pb.DetachSourceResponse(source=source_message(detached.source), users=detached.users)

        return self.write_once(request, context, tenant_id, pb.DetachSourceResponse, work)

    def DeleteSource(self, request: pb.DeleteSourceRequest, context: grpc.ServicerContext) -> pb.DeleteSourceResponse:
        """Take a source away that owns nothing."""
        tenant_id, source_id = names.parse(names.SOURCE, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.DeleteSourceResponse:
            source_states.delete_source(
                session, self._imports, tenant_id, source_id, request.etag, actor=caller.actor, now=now
            )
            return pb.DeleteSourceResponse()

        return self.write_once(request, context, tenant_id, pb.DeleteSourceResponse, work)

    def GetSourceSecret(
        self, request: pb.GetSourceSecretRequest, context: grpc.ServicerContext
    ) -> pb.GetSourceSecretResponse:
        """Read where and as whom to fetch, secrets included."""
        tenant_id, source_id = names.parse(names.SOURCE, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            secret = source_secrets.get_source_secret(
                session, tenant_id, source_id, seal=self.seal, pepper=self.pepper, drop=self.drop
            )
        return pb.GetSourceSecretResponse(
            endpoint=pb.SftpEndpoint(
                host=secret.host,
                port=secret.port,
                username=secret.username,
                host_key=secret.host_key,
                path=secret.path,
                allowed_networks=secret.allowed_networks,
            ),
            credentials=pb.SftpCredentials(
                password=secret.credentials.password, private_key=secret.credentials.private_key
            ),
        )

    def ListDropLogins(
        self, request: pb.ListDropLoginsRequest, context: grpc.ServicerContext
    ) -> pb.ListDropLoginsResponse:
        """Page through the logins of all hosted drops."""
        access.require(context, 0)
        page = pages.page_of(request)
        with self.store.read(None) as session:
            found = source_secrets.list_drop_logins(session, after_id=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda source: (source.id,))
        logins = [drop_login_record(source, pepper=self.pepper) for source in kept]
        return pb.ListDropLoginsResponse(logins=logins, next_page_token=token)

    def ClaimDueSource(
        self, request: pb.ClaimDueSourceRequest, context: grpc.ServicerContext
    ) -> pb.ClaimDueSourceResponse:
        """Claim the source that has been due the longest, of all tenants."""
        access.require(context, 0)
        claimer = claims.Claimer(parse_worker(request.worker), parse_lease(request.lease_seconds))
        attempt = Attempt.of(request.DESCRIPTOR.full_name, request)
        return claims.claim_due_source(self._imports, self.seal, claimer, attempt=attempt, answer=claim_message)

    def RenewClaim(self, request: pb.RenewClaimRequest, context: grpc.ServicerContext) -> pb.RenewClaimResponse:
        """Lengthen a claim's lease."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source, field="source")
        access.require(context, tenant_id)
        lease = parse_lease(request.lease_seconds)
        until = claims.renew_claim(self._imports, tenant_id, source_id, request.claim, lease=lease)
        return pb.RenewClaimResponse(lease_end_time=timestamp(until))

    def ReleaseClaim(self, request: pb.ReleaseClaimRequest, context: grpc.ServicerContext) -> pb.ReleaseClaimResponse:
        """Give a claim back without a run."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source, field="source")
        access.require(context, tenant_id)
        why = _RELEASES.get(request.reason)
        if why is None:
            raise InvalidArgument([("reason", "must say why there is no run")])

        def work(session: Session, now: datetime) -> pb.ReleaseClaimResponse:
            source = claims.release_claim(session, tenant_id, source_id, request.claim, why, now=now)
            return pb.ReleaseClaimResponse(next_run_time=timestamp(source.due_at) if source.due_at else None)

        return self.write_once(request, context, tenant_id, pb.ReleaseClaimResponse, work)

    def _step(
        self,
        request: _StepRequest,
        context: grpc.ServicerContext,
        answer_type: type[_StepAnswer],
        step: source_states.Step,
    ) -> _StepAnswer:
        """Bring the source that the request names into another state."""
        tenant_id, source_id = names.parse(names.SOURCE, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> _StepAnswer:
            return answer_type(source=source_message(step(session, tenant_id, source_id, actor=caller.actor, now=now)))

        return self.write_once(request, context, tenant_id, answer_type, work)

    @property
    def _imports(self) -> Imports:
        return Imports(self.store, self.stages, clock=self.clock)

    def _drop_login(self, source: Source, password: str = "") -> pb.DropLogin | None:
        if source.kind != SourceKind.SFTP or source.sftp_host:
            return None
        return pb.DropLogin(
            host=self.drop.host,
            port=self.drop.port,
            username=source.sftp_username,
            password=password,
            path=source.sftp_path,
        )
