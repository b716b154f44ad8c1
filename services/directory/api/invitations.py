"""InvitationService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import grpc
from muster.directory.v1 import invitations_pb2 as pb
from muster.directory.v1 import invitations_pb2_grpc, users_pb2
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, lock_wait_s, timestamp
from services.directory.api.users import user_message
from services.directory.operations import invitations, users
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument, LinkInvalid
from services.directory.rules.etags import etag_of
from services.directory.rules.tokens import INVITATION_LINK
from services.directory.store.people_tables import InvitationState

_MOST_IN_BATCH = 1000


class InvitationServicer(Servicer, invitations_pb2_grpc.InvitationServiceServicer):
    """Invites users, and lets them accept."""

    def CreateInvitation(
        self, request: pb.CreateInvitationRequest, context: grpc.ServicerContext
    ) -> pb.CreateInvitationResponse:
        """Invite one user, or once more."""
        tenant_id, user_id = names.parse(names.USER, request.user, field="user")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.CreateInvitationResponse:
            view = invitations.invite(session, tenant_id, [user_id], actor=caller.actor, now=now)[0]
            return pb.CreateInvitationResponse(invitation=_message(view))

        return self.write_once(request, context, tenant_id, pb.CreateInvitationResponse, work)

    def BatchCreateInvitations(
        self, request: pb.BatchCreateInvitationsRequest, context: grpc.ServicerContext
    ) -> pb.BatchCreateInvitationsResponse:
        """Invite up to 1000 users, all or none."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        if not 1 <= len(request.users) <= _MOST_IN_BATCH:
            raise InvalidArgument([("users", f"1 to {_MOST_IN_BATCH} users a call")])
        user_ids = [names.parse_within(names.USER, user, tenant_id=tenant_id, field="users") for user in request.users]

        def work(session: Session, now: datetime) -> pb.BatchCreateInvitationsResponse:
            views = invitations.invite(session, tenant_id, user_ids, actor=caller.actor, now=now)
            return pb.BatchCreateInvitationsResponse(invitations=map(_message, views))

        return self.write_once(request, context, tenant_id, pb.BatchCreateInvitationsResponse, work)

    def GetInvitation(
        self, request: pb.GetInvitationRequest, context: grpc.ServicerContext
    ) -> pb.GetInvitationResponse:
        """Read one invitation."""
        tenant_id, invitation_id = names.parse(names.INVITATION, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            view = invitations.get_invitation(session, tenant_id, invitation_id, now=self.clock())
            return pb.GetInvitationResponse(invitation=_message(view))

    def ListInvitations(
        self, request: pb.ListInvitationsRequest, context: grpc.ServicerContext
    ) -> pb.ListInvitationsResponse:
        """Page through a tenant's invitations."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        states = _states(request.states)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = invitations.list_invitations(
                session,
                tenant_id,
                states=states,
                scope=caller.scope,
                after_id=page.after[0],
                limit=page.limit,
                now=self.clock(),
            )
        kept, token = page.cut(found, lambda view: (view.invitation.id,))
        return pb.ListInvitationsResponse(invitations=map(_message, kept), next_page_token=token)

    def RevokeInvitation(
        self, request: pb.RevokeInvitationRequest, context: grpc.ServicerContext
    ) -> pb.RevokeInvitationResponse:
        """Take an invitation back."""
        tenant_id, invitation_id = names.parse(names.INVITATION, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.RevokeInvitationResponse:
            view = invitations.revoke(session, tenant_id, invitation_id, etag=request.etag, actor=caller.actor, now=now)
            return pb.RevokeInvitationResponse(invitation=_message(view))

        return self.write_once(request, context, tenant_id, pb.RevokeInvitationResponse, work)

    def MintInvitationLink(
        self, request: pb.MintInvitationLinkRequest, context: grpc.ServicerContext
    ) -> pb.MintInvitationLinkResponse:
        """Give the link to mail; its answer is kept nowhere, since the same call makes it again."""
        tenant_id, invitation_id = names.parse(names.INVITATION, request.name, field="name")
        caller = access.require(context, tenant_id)
        with self.store.write(tenant_id, wait_s=lock_wait_s(context)) as session:
            minted = invitations.mint_link(
                session, tenant_id, invitation_id, pepper=self.pepper, actor=caller.actor, now=self.clock()
            )
        return pb.MintInvitationLinkResponse(
            url=minted.url, token=minted.token, expire_time=timestamp(minted.expire_time)
        )

    def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, context: grpc.ServicerContext
    ) -> pb.AcceptInvitationResponse:
        """Set a user's first password by a link's token."""
        caller = access.caller_of(context)
        link = INVITATION_LINK.read(request.token, pepper=self.pepper)
        if link is None:
            raise LinkInvalid
        password = self.passwords.choose(request.password, field="password")

        def work(session: Session, now: datetime) -> pb.AcceptInvitationResponse:
            user_id = invitations.accept(session, link, password, actor=caller.actor, now=now)
            return pb.AcceptInvitationResponse(
                user=user_message(users.get_users(session, link.tenant_id, [user_id])[0], now)
            )

        return self.write_once(request, context, link.tenant_id, pb.AcceptInvitationResponse, work, deleted_too=True)


def _states(given: Sequence[users_pb2.InvitationState.ValueType]) -> set[InvitationState]:
    try:
        return {InvitationState(state) for state in given}
    except ValueError:
        raise InvalidArgument([("states", "must be states that an invitation can be in")]) from None


def _message(view: invitations.InvitationView) -> pb.Invitation:
    invitation = view.invitation
    tenant_id = invitation.tenant_id
    name = names.INVITATION.format(tenant_id, invitation.id)
    return pb.Invitation(
        name=name,
        user=names.USER.format(tenant_id, invitation.user_id),
        email=view.email,
        state=users_pb2.InvitationState.ValueType(view.state),
        create_time=timestamp(invitation.create_time),
        sent_time=timestamp(invitation.sent_time) if invitation.sent_time else None,
        expire_time=timestamp(invitation.expire_time),
        end_time=timestamp(invitation.end_time) if invitation.end_time else None,
        import_run=names.format_optional(names.IMPORT_RUN, tenant_id, invitation.run_id),
        etag=etag_of(name, invitation.revision),
    )
