"""Let a call in or refuse it, before anything is looked up.

The interceptor stands in front of every servicer: it finds the caller by the token, looks the method up in
`rules.grants` (no entry: refused) and compares the tenant that the request names with the caller's grant. A servicer
method then begins with

    caller = access.require(context, tenant_id)

which compares once more, with the tenant the servicer itself has read from the request (of a stream: from its first
message), and gives `caller.actor` for events and `caller.grant`. Methods that look across tenants use
`access.caller_of(context)`. A method that is only for SCIM connections names no tenant; it begins with

    caller = access.require_connection(context)

which gives `caller.tenant_id`, `caller.source_id` and an actor that is the source. What signed-in administrators do
with their own session begins with `access.require_administrator(context)`.

Administrators of an account are kept to it here as well: whatever the fields of `rules.account_reach` name must be
within, and lists are narrowed by what is given them as `caller.scope`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import grpc
from muster.runtime import identity

from services.directory.operations.api_keys import KeyUses
from services.directory.operations.scope import require_in_scope
from services.directory.operations.tokens import Caller, authenticate
from services.directory.rules import names
from services.directory.rules.account_reach import REACHES, Reach
from services.directory.rules.errors import (
    GuardTripped,
    InvalidArgument,
    PermissionDenied,
    SourceStateError,
    Unauthenticated,
)
from services.directory.rules.grants import METHOD_RULES, Grant, Rule
from services.directory.store.session import Store
from services.directory.store.tables import SourceState

_CALLER = "_muster_caller"
_MOST_NAMED = 1000


def require(context: grpc.ServicerContext, tenant_id: int) -> Caller:
    """Give the caller, whose grant must reach the tenant. Errors: PermissionDenied."""
    caller = caller_of(context)
    if not caller.reaches(tenant_id):
        raise PermissionDenied
    return caller


def require_connection(context: grpc.ServicerContext) -> Caller:
    """Give the caller, which must be an enabled SCIM connection.

    Errors: PermissionDenied, SourceStateError, GuardTripped (the guard has paused it).
    """
    caller = caller_of(context)
    if caller.grant is not Grant.CONNECTION:
        raise PermissionDenied
    if caller.source_state == SourceState.PAUSED and caller.is_paused_by_guard:
        raise GuardTripped
    if caller.source_state != SourceState.ENABLED:
        state = caller.source_state.name.lower()
        cure = "resume" if caller.source_state == SourceState.PAUSED else "enable"
        raise SourceStateError(f"the connection is {state}: an administrator can {cure} it", state=state)
    return caller


def require_administrator(context: grpc.ServicerContext) -> Caller:
    """Give the caller, which must be a signed-in administrator. Errors: PermissionDenied."""
    caller = caller_of(context)
    if not caller.administrator_id:
        raise PermissionDenied
    return caller


def caller_of(context: grpc.ServicerContext) -> Caller:
    """Give the caller whom the interceptor has let in. Errors: Unauthenticated."""
    caller = getattr(context, _CALLER, None)
    if not isinstance(caller, Caller):
        raise Unauthenticated
    return caller


def tenant_trailer(caller: Caller) -> tuple[str, str]:
    """Say whose call it was, in the trailing metadata: a gateway takes turns between tenants (S13)."""
    return (identity.TENANT, names.TENANT.format(caller.tenant_id))


class AccessInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Refuse a call without a valid token, without a grant for its method, or for another tenant than the grant's."""

    def __init__(self, store: Store, *, pepper: bytes, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._pepper = pepper
        self._clock = clock
        self._key_uses = KeyUses(store)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the handler: the look-up of the token then runs in the call's own thread."""
        handler = continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith("/grpc."):  # health and reflection tell nothing of a tenant
            return handler
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            wrap = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            wrapped: Any = self._streaming(inner, method, one_request=not handler.request_streaming)
        else:
            inner = handler.stream_unary or handler.unary_unary
            wrap = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            wrapped = self._single(inner, method, one_request=not handler.request_streaming)
        return wrap(wrapped, handler.request_deserializer, handler.response_serializer)

    def _single(self, inner: Callable[[Any, Any], Any], method: str, *, one_request: bool) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            self._admit(method, request if one_request else None, context)
            return inner(request, context)

        return call

    def _streaming(
        self, inner: Callable[[Any, Any], Iterator[Any]], method: str, *, one_request: bool
    ) -> Callable[[Any, Any], Iterator[Any]]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._admit(method, request if one_request else None, context)
            rule = METHOD_RULES[method]
            yield from inner(self._each_admitted(method, request, context) if rule.each_message else request, context)

        return call

    def _each_admitted(self, method: str, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """Let the caller in anew with each message, as with a call: a key that is revoked opens nothing more (S1)."""
        for request in requests:
            self._admit(method, None, context)
            yield request

    def _admit(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        rule = METHOD_RULES.get(method)
        if rule is not None and rule.anonymous:
            return
        now = self._clock()
        caller = self._caller(identity.token_of(context.invocation_metadata()), now)
        reach = REACHES.get(method) if caller.grant is Grant.ACCOUNT else None
        if rule is None or (caller.grant not in rule.grants and reach is None):
            raise PermissionDenied
        if caller.tenant_id and not rule.by_key:
            _compare_tenant(caller, rule, request)
        if reach is not None:
            self._keep_within(caller, reach, request)
        if caller.grant is Grant.CONNECTION:
            self._key_uses.note(caller.tenant_id, caller.token_id, now)
            context.set_trailing_metadata((tenant_trailer(caller),))
        setattr(context, _CALLER, caller)

    def _keep_within(self, caller: Caller, reach: Reach, request: Any) -> None:
        """Require that an administrator of an account names nothing outside of it."""
        named = _named(caller, reach, request)
        with self._store.read(caller.tenant_id) as session:
            require_in_scope(session, caller.scope, named)

    def _caller(self, token: str | None, now: datetime) -> Caller:
        if not token:
            raise Unauthenticated
        with self._store.look_up() as connection:
            caller = authenticate(connection, token, pepper=self._pepper, now=now)
        if caller is None:
            raise Unauthenticated
        return caller


def _compare_tenant(caller: Caller, rule: Rule, request: Any) -> None:
    """Read the tenant out of the request's own text; no look-up is made for it."""
    if request is None or not rule.tenant_field:
        raise PermissionDenied
    if not caller.reaches(names.tenant_of(_value(request, rule.tenant_field), field=rule.tenant_field)):
        raise PermissionDenied


def _value(request: Any, path: str) -> Any:
    value = request
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _named(caller: Caller, reach: Reach, request: Any) -> dict[str, list[int]]:
    """Read the ids of all that the request names, by prefix. Errors: PermissionDenied, InvalidArgument."""
    named: defaultdict[str, list[int]] = defaultdict(list)
    for path in (*reach.required, *reach.optional):
        value = _value(request, path)
        texts = [value] if isinstance(value, str) else list(value)
        if path in reach.required and not any(texts):
            raise PermissionDenied
        if len(texts) > _MOST_NAMED:
            raise InvalidArgument([(path, f"at most {_MOST_NAMED} a call")])
        for text in filter(None, texts):
            tenant_id, prefix, number = names.parse_tended(text, field=path)
            is_own = (prefix, number) == ("acc", caller.account_id)
            if tenant_id != caller.tenant_id or (is_own and path == reach.never_own):
                raise PermissionDenied
            named[prefix].append(number)
    return named
