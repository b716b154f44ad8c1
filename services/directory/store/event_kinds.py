"""Every kind of event that the directory writes, and what it tells; those who follow events ask for these words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

EVENT_KINDS: Final = MappingProxyType(
    {
        "tenant.created": "a tenant began",
        "tenant.updated": "its settings changed",
        "tenant.deleted": "it was deleted, with everything in it",
        "account.created": "an account began",
        "account.updated": "its name or language changed",
        "account.moved": "it lies below another account",
        "account.deleted": "it is gone",
        "user.created": "somebody came",
        "user.updated": "fields changed",
        "user.taken_over": "a source owns a manual user from now on (R27, S9)",
        "user.dormant": "somebody is out and may be brought back by the source (S6, S7)",
        "user.deleted": "somebody is out",
        "user.restored": "somebody is back",
        "user.missed": "files without the person are counted, or their deletion was left out (R8, R32)",
        "user.erased": "personal data is gone for good",
        "user.password_set": "a password was set",
        "user.password_reset_requested": "a link to set one was asked for",
        "group.created": "a group began",
        "group.updated": "its name, Group ID or owner changed",
        "group.moved": "it belongs to another account (R43)",
        "group.deleted": "it is gone; its Group ID stays taken",
        "group.released": "a deleted group's Group ID is free again",
        "membership.added": "somebody came into groups",
        "membership.removed": "somebody left groups",
        "license.updated": "the number of seats changed",
        "license.near_full": "nine of ten seats are taken",
        "license.full": "every seat is taken",
        "license.refused": "people were refused a seat (S5)",
        "source.created": "a source was set up, in trial",
        "source.updated": "its settings changed",
        "source.enabled": "the go-ahead was given",
        "source.trial": "a run of it was undone, and it waits for the next go-ahead",
        "source.disabled": "it was stopped",
        "source.paused": "it was stopped until it is resumed",
        "source.resumed": "it goes on",
        "source.detached": "it gave its users away, or deleted them (S12)",
        "source.deleted": "it is gone",
        "connection.failing": "the requests of an identity provider keep failing",
        "connection.recovered": "they do not fail any more",
        "key.created": "a key or a client's secret was issued",
        "key.rotated": "another took its place",
        "key.revoked": "it opens nothing any more",
        "invitation.created": "somebody is to be invited",
        "invitation.sent": "the link was mailed",
        "invitation.resent": "a new link is to be mailed",
        "invitation.accepted": "the person set a password",
        "invitation.revoked": "its link opens nothing any more",
        "administrator.created": "somebody may administer",
        "administrator.updated": "role, mail or second factor changed",
        "administrator.signed_in": "an administrator signed in",
        "administrator.deleted": "somebody may not administer any more",
        "run.created": "a run began",
        "run.planned": "a dry run or a trial came to rest",
        "run.held": "a plan waits for a decision (R8)",
        "run.approved": "a held plan was approved",
        "run.applied": "a file took effect",
        "run.undone": "what an applied run changed was put back",
        "run.unchanged": "the last applied file came again, and nothing differs (R5)",
        "run.refused": "a file was refused",
        "run.no_file": "there was no file (R5)",
        "run.discarded": "a held plan was discarded",
        "run.expired": "a newer file took a held plan's place",
        "run.failed": "a run could not be ended",
    }
)
"""The kind, and what it tells; `FAMILY.*` asks for all of a family."""

FAMILIES: Final = frozenset(kind.partition(".")[0] for kind in EVENT_KINDS)
"""The first words of kinds."""
