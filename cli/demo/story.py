"""The story: two nights of a town, a file cut short, a mass deletion, an undo, a full license; then a provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cli.demo import scim_story
from cli.demo.people import (
    CROSS_GROUPS,
    DEPARTMENTS,
    DOMAIN,
    PEOPLE,
    Department,
    Person,
    export,
    hired,
    moved,
)
from cli.demo.stage import Stage, StepFailedError
from cli.documents import Document
from cli.runs import EXIT_HELD, EXIT_REFUSED

MAYA_MAIL = f"maya.lindhavn@{DOMAIN}"
_LEAVERS, _MOVERS, _PROMOTED, _JOINERS = range(100, 112), range(200, 225), range(300, 330), 15
_BAD_ROW = 400
_MAYA = 9000
_LOST_DEPARTMENTS = range(30, 50)
_MISTAKEN = range(3000, 3003)
_MAIL_PATIENCE_S = 30.0


@dataclass
class Town:
    """What the story knows: the installation, the people who work in the town, and the nights gone by."""

    line: Mapping[str, Any]
    host_key: str
    first_night: datetime
    people: dict[int, Person]
    nights: int = 0

    def hire(self, first: int, count: int) -> None:
        """Take new people on."""
        self.people |= {person.number: person for person in hired(first, count)}

    def export(self, keep: Callable[[Person], bool] = lambda _: True) -> bytes:
        """Write tonight's file: people whom `keep` keeps, an hour after the file before."""
        moment = self.first_night + timedelta(hours=self.nights)
        self.nights += 1
        return export((person for person in self.people.values() if keep(person)), moment)


def tell(stage: Stage, line: Mapping[str, Any], host_key: str, now: datetime) -> None:
    """Tell the whole story; StepFailedError names the step that did not do what it says."""
    town = Town(line, host_key, first_night=now - timedelta(hours=12), people={})
    maya = _the_town(stage, town)
    _first_night(stage, town)
    _second_night(stage, town, maya)
    _cut_short(stage, town)
    _undo(stage, town, _mass_deletion(stage, town))
    _full_license(stage, town)
    scim_story.tell(stage, line)


def _the_town(stage: Stage, town: Town) -> str:
    stage.step(
        "The town",
        f"Northlake (the tenant `demo`) has {DEPARTMENTS} departments, each a sub-account with one group that the\n"
        "file feeds, and groups across departments in the main account. Maya was added by hand.",
    )
    tenant, account = str(town.line["tenant"]), str(town.line["account"])
    for number in range(DEPARTMENTS):
        department = Department(number)
        command = stage.run if number == 0 else stage.run_aside
        made = command("account", "create", department.name, "--tenant", tenant)
        command("group", "create", "Staff", "--account", made["account"], "--group-id", department.group_id)
    stage.say(f"… and {DEPARTMENTS - 1} more.")
    for group_id, name, _ in CROSS_GROUPS:
        stage.run_aside("group", "create", name, "--account", account, "--group-id", group_id)
    switchboard = stage.run("group", "create", "Switchboard", "--account", account)["group"]
    maya: str = stage.run(
        *("user", "create", "Maya Lindhavn", MAYA_MAIL, "--account", account, "--group", switchboard)
    )["user"]
    accounts = stage.run_aside("account", "list", "--tenant", tenant)["accounts"]
    stage.check("accounts, the main account included", len(accounts), DEPARTMENTS + 1)
    return maya


def _first_night(stage: Stage, town: Town) -> None:
    stage.step("Night 1", f"The personnel system uploads {PEOPLE:,} people by SFTP; Muster fetches the file.")
    town.hire(0, PEOPLE)
    run = _night(stage, town, town.export())
    stage.check("people created", run["counts"]["created"], PEOPLE)
    stage.check("rows rejected", run["counts"]["rejected"], 0)
    accounts = stage.run("account", "list", "--tenant", str(town.line["tenant"]))["accounts"]
    in_departments = sum(each["user_count"] for each in accounts if each["parent"])
    stage.check("people in the sub-accounts", in_departments, PEOPLE)
    groups = stage.run_aside("group", "list", "--tenant", str(town.line["tenant"]))["groups"]
    crisis_team = next(each for each in groups if each["group_id"] == CROSS_GROUPS[0][0])
    stage.check("people in the crisis team", crisis_team["member_count"], PEOPLE // CROSS_GROUPS[0][2])
    _report(stage, town, run)


def _second_night(stage: Stage, town: Town, maya: str) -> None:
    stage.step(
        "Night 2",
        f"{len(_LEAVERS)} people have left, {len(_MOVERS)} have moved to another department, {len(_PROMOTED)} have a "
        f"new title,\n{_JOINERS} are new, Maya is in the file now, and somebody broke one mail address.",
    )
    for number in _LEAVERS:
        del town.people[number]
    for number in _MOVERS:
        town.people[number] = moved(town.people[number])
    for number in _PROMOTED:
        town.people[number] = replace(town.people[number], title="Principal")
    town.hire(PEOPLE, _JOINERS)
    town.people[_MAYA] = Person(_MAYA, department=7, title="Operator", mail=MAYA_MAIL, name="Maya Lindhavn")
    good = town.people[_BAD_ROW]
    town.people[_BAD_ROW] = replace(good, mail=good.email.replace("@", " at "))
    run = _night(stage, town, town.export())
    town.people[_BAD_ROW] = good
    counts = run["counts"]
    stage.check("people created", counts["created"], _JOINERS)
    stage.check("people updated", counts["updated"], len(_MOVERS) + len(_PROMOTED) + 1)
    stage.check("people taken over", counts["taken_over"], 1)
    stage.check("people deleted", counts["deleted"], len(_LEAVERS))
    stage.check("rows rejected, and why", [each["reason"] for each in run["rejected"]], ["mail_invalid"])
    stage.check("whose row it was", [each["key"] for each in run["rejected"]], [good.unique_id])
    _people_after_the_second_night(stage, town, maya, good)
    _report(stage, town, run, most=80)


def _people_after_the_second_night(stage: Stage, town: Town, maya: str, held: Person) -> None:
    tenant = str(town.line["tenant"])
    taken = stage.run("user", "show", maya)
    stage.check("Maya is the same user, owned by the file", taken["owner"], town.line["sftp_source"])
    stage.check("Maya is still at the switchboard", "Switchboard" in taken["groups"], expected=True)
    stage.check("Maya needs a new password", taken["password_reset_required"], expected=True)
    kept = stage.run_aside("user", "list", "--tenant", tenant, "--email", held.email)["users"]
    stage.check("the person of the bad row is held as before", [each["name"] for each in kept], [held.display_name])
    mover = town.people[_MOVERS[0]]
    found = stage.run_aside("user", "list", "--tenant", tenant, "--email", mover.email)["users"][0]
    stage.check("a mover is in the new department", Department(mover.department).name in found["accounts"], True)
    left = Department(_MOVERS[0] % DEPARTMENTS).name
    stage.check("… and no longer in the old one", left in found["accounts"], expected=False)
    _count_people(stage, town)


def _cut_short(stage: Stage, town: Town) -> None:
    stage.step("A file cut short", "The next upload ends in the middle of a row.")
    whole = town.export()
    run = _night(stage, town, whole[: whole.index(b"@", len(whole) // 2)], status=EXIT_REFUSED)
    stage.check("the run", run["status"], "refused")
    stage.check("why", run["reason"], "truncated")
    _count_people(stage, town)


def _mass_deletion(stage: Stage, town: Town) -> str:
    stage.step(
        "A mass deletion",
        f"The export forgets {len(_LOST_DEPARTMENTS)} departments; three people are new. Muster holds the plan, and\n"
        "the administrator takes the new people and leaves the deletions out.",
    )
    lost = {person.number for person in town.people.values() if person.department in _LOST_DEPARTMENTS}
    town.hire(_MISTAKEN.start, len(_MISTAKEN))
    file = town.export(lambda person: person.number not in lost)
    held = _night(stage, town, file, status=EXIT_HELD)
    stage.check("the run", held["status"], "held")
    stage.check("why", held["reason"], "delete_limit")
    stage.check("people who would have been deleted", held["plan"]["deleted"], len(lost))
    stage.check("people deleted so far", held["counts"]["deleted"], 0)
    _report(stage, town, held)
    run = stage.run("runs", "approve", held["run"], "--without-deletions")
    stage.check("the run after approval", run["status"], "applied")
    stage.check("people created", run["counts"]["created"], 3)
    stage.check("people deleted", run["counts"]["deleted"], 0)
    _count_people(stage, town)
    return str(run["run"])


def _undo(stage: Stage, town: Town, run: str) -> None:
    stage.step(
        "Undo",
        "The three new people were a mistake. An undo is shown before it is done; afterwards the source is in trial\n"
        "until the next go-ahead.",
    )
    planned = stage.run("runs", "undo", run, "--dry-run")
    stage.check("the undo", planned["status"], "planned")
    stage.check("people who would be deleted", planned["plan"]["deleted"], len(_MISTAKEN))
    _count_people(stage, town)
    undone = stage.run("runs", "undo", run)
    stage.check("the run that was undone", undone["status"], "undone")
    for number in _MISTAKEN:
        del town.people[number]
    _count_people(stage, town)
    stage.run("source", "enable", str(town.line["sftp_source"]))


def _full_license(stage: Stage, town: Town) -> None:
    stage.step("A full license", "Twelve people are new and five seats are free; then more seats are bought.")
    tenant = str(town.line["tenant"])
    seats = len(town.people) + 5
    stage.run("license", "set", "--tenant", tenant, "--seats", str(seats))
    town.hire(4000, 12)
    run = _night(stage, town, town.export())
    stage.check("people created", run["counts"]["created"], 5)
    stage.check("people deferred", run["counts"]["deferred"], 7)
    deferred = [each for each in run["warnings"] if each["code"] == "deferred_license"]
    stage.check("warnings that name them", len(deferred), 7)
    stage.check("seats taken", stage.run("license", "show", "--tenant", tenant)["seats_used"], seats)
    stage.run("license", "set", "--tenant", tenant, "--seats", str(seats + 100))
    run = _night(stage, town, town.export())
    stage.check("people created the next night", run["counts"]["created"], 7)
    stage.check("people deferred the next night", run["counts"]["deferred"], 0)
    _count_people(stage, town)


def _night(stage: Stage, town: Town, file: bytes, *, status: int = 0) -> Document:
    stage.upload(town.line["sftp"], town.host_key, file)
    return stage.run("run", str(town.line["sftp_source"]), status=status)


def _count_people(stage: Stage, town: Town) -> None:
    users = stage.run_aside("user", "list", "--tenant", str(town.line["tenant"]))["users"]
    stage.check("people in the register", len(users), len(town.people))


def _report(stage: Stage, town: Town, run: Document, *, most: int = 24) -> None:
    """Wait for the run's report, show at most so many lines of it, and check that it went out."""
    tenant, deadline = str(town.line["tenant"]), time.monotonic() + _MAIL_PATIENCE_S
    while True:
        messages = stage.run_aside("messages", "list", "--tenant", tenant)["messages"]
        about = [each for each in messages if each["about"] == run["run"] and each["state"] == "sent"]
        if about:
            break
        if time.monotonic() > deadline:
            raise StepFailedError(
                stage.name, f"a report on {run['run']} within {_MAIL_PATIENCE_S:g} s", messages, "one mail"
            )
        time.sleep(0.1)
    stage.say(f"\n$ muster messages show {about[0]['message']}")
    message = stage.run_aside("messages", "show", about[0]["message"])
    stage.show_text(f"To: {message['to']}\nSubject: {message['subject']}\n\n{message['text']}", most=most)
    stage.check(f"report of a run that is {run['status']}", len(about), 1)
