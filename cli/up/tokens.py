"""Have the directory make the services' tokens, all at once, for as long as somebody wants them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from cli.errors import CommandError

_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.1
_LAST_WORDS_S = 2.0

_Makers = Mapping[str, "subprocess.Popen[str]"]


def make_tokens(
    command: Sequence[str],
    environment: Mapping[str, str],
    grants: Sequence[str],
    *,
    wanted: Callable[[], bool],
    timeout_s: float = _TIMEOUT_S,
) -> dict[str, str]:
    """Run the command once a grant, side by side, and answer the tokens; none of them is left behind, however it ends.

    Errors: CommandError, when nobody wants them any more, or they take too long, or one says something else.
    """
    makers = {
        grant: subprocess.Popen(
            [*command, "--grant", grant],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            text=True,
            start_new_session=True,  # Ctrl-C is for us
        )
        for grant in grants
    }
    try:
        return _made(makers, wanted, deadline=time.monotonic() + timeout_s)
    finally:
        _end(makers)


def _made(makers: _Makers, wanted: Callable[[], bool], *, deadline: float) -> dict[str, str]:
    made: dict[str, str] = {}
    while len(made) < len(makers):
        if not wanted():
            raise CommandError("interrupted while the directory made its tokens; nothing of them is kept")
        if time.monotonic() > deadline:
            raise CommandError(f"muster-directory made no {_first_without(makers, made)} token in time; try again")
        for grant, maker in makers.items():
            if grant in made:
                continue
            try:
                said, complaint = maker.communicate(timeout=_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            made[grant] = _token_of(grant, said, complaint)
    return made


def _first_without(makers: _Makers, made: Mapping[str, str]) -> str:
    return next(grant for grant in makers if grant not in made)


def _token_of(grant: str, said: str, complaint: str) -> str:
    try:
        return str(json.loads(said)["token"])
    except (ValueError, KeyError, TypeError) as error:
        last = complaint.strip().splitlines()[-1:] or ["it said nothing"]
        raise CommandError(f"muster-directory could not make the {grant} token: {last[0][:300]}") from error


def _end(makers: _Makers) -> None:
    for maker in makers.values():
        if maker.poll() is None:
            maker.terminate()
    for maker in makers.values():
        try:
            maker.communicate(timeout=_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            maker.kill()
            maker.communicate()
        except ValueError:  # its pipes were read to their end
            maker.wait()
