"""The story's second half: an identity provider that creates, deactivates, is refused a seat, and gets a new key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.demo.identity_provider import IdentityProvider
from cli.demo.people import DOMAIN
from cli.demo.stage import Stage
from cli.documents import Document

_GROUP_ID, _GROUP = "RECEPTION", "Reception"
_PEOPLE = (("Ines Quill", "Receptionist"), ("Tom Ågren", "Receptionist"), ("Uma Vestling", "Porter"))
_NEWCOMER = ("Ville Ormsby", "Porter")
_CREATED, _OK, _UNAUTHORIZED, _FORBIDDEN = 201, 200, 401, 403


def tell(stage: Stage, line: Mapping[str, Any]) -> None:
    """Tell it on an installation whose tenant `demo` has a few free seats."""
    provider = IdentityProvider(stage, str(line["scim"]), str(line["scim_key"]))
    user = _people_and_a_group(stage, line, provider)
    _leave_and_return(stage, line, provider, user)
    _no_seat_left(stage, line, provider)
    _a_new_key(stage, line, provider)


def _people_and_a_group(stage: Stage, line: Mapping[str, Any], provider: IdentityProvider) -> str:
    stage.step(
        "An identity provider",
        "The town hall's own people come from its identity provider, by SCIM 2.0. It tests the connection, creates\n"
        "people, and puts them into a group that an administrator has made for it.",
    )
    empty = provider.find(f"nobody@{DOMAIN}")
    stage.check("testing the connection", (empty.status, empty.body.get("totalResults")), (_OK, 0))
    made = stage.run("group", "create", _GROUP, "--account", str(line["account"]), "--group-id", _GROUP_ID)["group"]
    people = [provider.create_user(_mail(name), name, title) for name, title in _PEOPLE]
    stage.check("people created", [answer.status for answer in people], [_CREATED] * len(_PEOPLE))
    group = provider.create_group(_GROUP_ID, _GROUP, [answer.id for answer in people])
    stage.check("the group", group.status, _CREATED)
    stage.check("… is the one that the administrator made", f"{line['tenant']}/groups/{group.id}", made)
    groups = stage.run_aside("group", "list", "--tenant", str(line["tenant"]))["groups"]
    (owner,) = [each["owner"] for each in groups if each["group"] == made]
    stage.check("whose group it is now", owner, line["scim_source"])
    members = stage.run("group", "members", made)["members"]
    stage.check("its members", sorted(each["email"] for each in members), sorted(_mail(name) for name, _ in _PEOPLE))
    user = f"{line['tenant']}/users/{people[0].id}"
    shown = stage.run("user", "show", user)
    stage.check("who owns them", shown["owner"], line["scim_source"])
    stage.check("their state", shown["state"], "active")
    return user


def _leave_and_return(stage: Stage, line: Mapping[str, Any], provider: IdentityProvider, user: str) -> None:
    stage.step(
        "Gone and back",
        "Ines is on leave, and the identity provider deactivates her: she is out at once, and her seat is free. Weeks\n"
        "later it activates her again, and does not send her groups once more.",
    )
    user_id, used = user.rpartition("/")[2], _seats(stage, line)["seats_used"]
    stage.check("the answer", provider.set_active(user_id, active=False).status, _OK)
    away = stage.run("user", "show", user)
    stage.check("her state", away["state"], "dormant")
    stage.check("her groups", away["groups"], [])
    stage.check("seats taken", _seats(stage, line)["seats_used"], used - 1)
    stage.check("the answer", provider.set_active(user_id, active=True).status, _OK)
    back = stage.run("user", "show", user)
    stage.check("her state again", back["state"], "active")
    stage.check("her groups again", back["groups"], [_GROUP])
    stage.check("seats taken again", _seats(stage, line)["seats_used"], used)


def _no_seat_left(stage: Stage, line: Mapping[str, Any], provider: IdentityProvider) -> None:
    stage.step(
        "No seat left",
        "Every seat is taken when the identity provider sends one person more. It is told why, the administrator sees\n"
        "who waits, and the next attempt works once there is a seat.",
    )
    tenant, (name, title) = str(line["tenant"]), _NEWCOMER
    used = _seats(stage, line)["seats_used"]
    stage.run("license", "set", "--tenant", tenant, "--seats", str(used))
    refused = provider.create_user(_mail(name), name, title)
    stage.check("the answer", refused.status, _FORBIDDEN)
    stage.check("it says how many seats are taken", f"{used} of {used} seats" in refused.body.get("detail", ""), True)
    waiting = stage.run("license", "refused", "--tenant", tenant)["refused"]
    stage.check("who waits for a seat", [each["user_name"] for each in waiting], [_mail(name)])
    stage.run("license", "set", "--tenant", tenant, "--seats", str(used + 1))
    stage.check("the next attempt", provider.create_user(_mail(name), name, title).status, _CREATED)
    seats = stage.run("license", "show", "--tenant", tenant)
    stage.check("seats taken, and who waits", (seats["seats_used"], seats["refused"]), (used + 1, 0))


def _a_new_key(stage: Stage, line: Mapping[str, Any], provider: IdentityProvider) -> None:
    stage.step(
        "A new key",
        "Keys are changed without a gap: the old one lives on until the identity provider has the new one.",
    )
    old = stage.run("scim-key", "list", "--source", str(line["scim_source"]))["keys"][0]["key_id"]
    new = stage.run("scim-key", "rotate", old)["key"]
    connections = (provider.with_key(provider.key, called="the old key"), provider.with_key(new, called="the new key"))
    both = [connection.find(_mail(_NEWCOMER[0])).status for connection in connections]
    stage.check("the old key and the new one", both, [_OK, _OK])
    stage.run("scim-key", "revoke", old)
    after = [connection.find(_mail(_NEWCOMER[0])).status for connection in connections]
    stage.check("… after the old one was revoked", after, [_UNAUTHORIZED, _OK])


def _seats(stage: Stage, line: Mapping[str, Any]) -> Document:
    return stage.run_aside("license", "show", "--tenant", str(line["tenant"]))


def _mail(name: str) -> str:
    return f"{name.lower().replace(' ', '.').replace('å', 'a')}@{DOMAIN}"
