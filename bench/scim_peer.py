"""Serve scim2-server as it is, in memory, with the same people and groups: what the bench compares with."""

from __future__ import annotations

import argparse
import json
import socket
from typing import Any

import uvicorn
from scim2_models import ResourceType, ScimPolicy, ScimProvider
from scim2_server.applications.asgi import ASGIApplication
from scim2_server.memory import AsyncInMemoryStorage, InMemoryStorage
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)

from bench.scim_people import person_json


def main() -> None:
    """Fill the storage, print where it listens as one JSON line, and serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--groups", type=int, nargs="+", required=True, help="how many members each group has")
    options = parser.parse_args()
    policy = ScimPolicy(unknown=ScimPolicy.Unknown.ignore, remove_value_as_filter=ScimPolicy.RemoveValue.apply)
    provider = ScimProvider.from_discovery(
        load_default_schemas().values(),
        load_default_resource_types().values(),
        config=load_default_service_provider_config(),
        policy=policy,
    )
    storage = InMemoryStorage()
    users, groups = (_type_named(provider, name) for name in ("User", "Group"))
    with provider:
        user_model: Any = provider.model_for(users)
        group_model: Any = provider.model_for(groups)
        people = [
            str(storage.create(users, user_model.model_validate(person_json(f"person{number}@example.org"))).id)
            for number in range(options.people)
        ]
        made = {
            size: str(
                storage.create(
                    groups,
                    group_model(display_name=f"Group {size}", members=[{"value": person} for person in people[:size]]),
                ).id
            )
            for size in options.groups
        }
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the gateway's own
    print(
        json.dumps(
            {
                "url": f"http://127.0.0.1:{listener.getsockname()[1]}/v2",
                "people": people,
                "groups": made,
            }
        ),
        flush=True,
    )
    app: Any = ASGIApplication(AsyncInMemoryStorage(storage), provider)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])


def _type_named(provider: Any, name: str) -> ResourceType:
    found: ResourceType = next(each for each in provider.resource_types if each.id == name)
    return found


if __name__ == "__main__":
    main()
