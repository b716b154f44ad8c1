"""MessageService over gRPC: what it shows, and to whom."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from muster.notifier.v1 import messages_pb2, messages_pb2_grpc
from muster.runtime.client import open_aio_channel, open_channel
from muster.runtime.errors import failure_of

from services.notifier.api import MessageServicer
from services.notifier.marks import LINK
from services.notifier.messages import Bundle, Draft, MessageKind, MessageState, MessageStore
from tests.stack.loop import LoopThread
from tests.unit.notifier.directory_double import NOTIFIER_TOKEN, TENANT, TENANT_TOKEN, a_directory

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


@pytest.fixture
def directory():
    with a_directory() as double:
        yield double


@pytest.fixture
def store(tmp_path):
    made = MessageStore(f"sqlite:///{tmp_path}/notifier.db")
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def woken():
    """Set when somebody is to send what is queued."""
    return threading.Event()


@pytest.fixture
def address(directory, store, woken):
    """Where the service answers."""
    loop = LoopThread("notifier-api")

    async def start():
        channel = open_aio_channel(directory.address, NOTIFIER_TOKEN, timeout_s=3.0)
        server = grpc.aio.server()
        servicer = MessageServicer(store, channel, now=lambda: NOW, queued=woken.set)
        messages_pb2_grpc.add_MessageServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, channel, port

    async def stop(server, channel):
        await server.stop(None)
        await channel.close()
        await asyncio.sleep(0)

    server, channel, port = loop.run(start())
    yield f"127.0.0.1:{port}"
    loop.run(stop(server, channel))
    loop.stop()


@pytest.fixture
def service(address):
    with open_channel(address, TENANT_TOKEN) as channel:
        yield messages_pb2_grpc.MessageServiceStub(channel)


def _queue(store, number, *, tenant=TENANT, text="text", html="<p>html</p>"):
    draft = Draft(
        recipient=f"p{number}@x.example",
        kind=MessageKind.NO_FILE,
        message_id=f"<{number}@x>",
        subject=f"Subject {number}",
        text=text,
        html=html,
    )
    bundle = Bundle(tenant, f"{tenant}/events/{number}", "run", [draft])
    store.queue([bundle], now=NOW + timedelta(minutes=number))


def _reason(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return failure_of(caught.value).reason


def _list(service, **request):
    return service.ListMessages(messages_pb2.ListMessagesRequest(**({"tenant": TENANT} | request)))


def test_messages_are_listed_newest_first_page_by_page_without_bodies(service, store):
    for number in range(1, 6):
        _queue(store, number)
    _queue(store, 9, tenant="tenants/ten_other")
    seen, token = [], ""
    for _ in range(3):
        page = _list(service, page_size=2, page_token=token)
        seen += [message.subject for message in page.messages]
        token = page.next_page_token
    assert seen == [f"Subject {number}" for number in (5, 4, 3, 2, 1)]
    assert token == ""
    assert not any(message.text or message.html for message in page.messages)


def test_one_message_is_read_with_its_bodies(service, store):
    _queue(store, 1)
    (listed,) = _list(service).messages
    message = service.GetMessage(messages_pb2.GetMessageRequest(name=listed.name)).message
    assert message.name.startswith(f"{TENANT}/messages/msg_")
    assert (message.text, message.html) == ("text", "<p>html</p>")
    assert (message.to, message.message_id, message.about) == ("p1@x.example", "<1@x>", "run")
    assert message.kind == messages_pb2.MESSAGE_KIND_NO_FILE
    assert message.state == messages_pb2.MESSAGE_STATE_QUEUED
    assert message.create_time.ToDatetime(tzinfo=UTC) == NOW + timedelta(minutes=1)
    assert not message.HasField("send_time")


def test_a_message_is_sent_once_more_when_asked_for(service, store, woken):
    _queue(store, 1)
    later = NOW + timedelta(minutes=1)
    (claimed,) = store.take_turns((), wanted=1, now=later, lease=timedelta(minutes=5))
    store.mark_failed(claimed, "550 no")
    (listed,) = _list(service).messages
    assert (listed.state, listed.last_error) == (messages_pb2.MESSAGE_STATE_FAILED, "550 no")
    again = service.ResendMessage(messages_pb2.ResendMessageRequest(name=listed.name)).message
    assert (again.state, again.message_id, again.text) == (messages_pb2.MESSAGE_STATE_QUEUED, "<1@x>", "")
    assert again.next_attempt_time.ToDatetime(tzinfo=UTC) == NOW
    assert woken.is_set()
    store.mark_sent(1, now=NOW)
    store.forget_bodies(before=NOW + timedelta(days=91))
    assert _reason(lambda: service.ResendMessage(messages_pb2.ResendMessageRequest(name=listed.name))) == (
        "FAILED_PRECONDITION"
    )


def test_a_link_that_opens_something_is_not_shown(service, store):
    _queue(store, 1, text=f"open {LINK}", html=f'<a href="{LINK}">')
    (listed,) = _list(service).messages
    message = service.GetMessage(messages_pb2.GetMessageRequest(name=listed.name)).message
    assert (message.text, message.html) == ("open https://…", '<a href="https://…">')


@pytest.mark.parametrize(("language", "said"), [("", "Reminder"), ("sv", "Påminnelse")])
def test_mails_of_a_kind_are_shown_before_they_are_needed(service, language, said):
    request = messages_pb2.PreviewMessagesRequest(
        tenant=TENANT, kind=messages_pb2.MESSAGE_KIND_INVITATION, language=language
    )
    first, again = service.PreviewMessages(request).previews
    assert (first.name, again.name) == ("invitation", "invitation_again")
    assert again.subject.startswith(f"[Ingleby Council] {said}")
    assert "https://…" in again.text
    assert "<html" in again.html


def test_every_kind_of_message_has_a_preview(service):
    previews = service.PreviewMessages(messages_pb2.PreviewMessagesRequest(tenant=TENANT)).previews
    assert {preview.kind for preview in previews} == {int(kind) for kind in MessageKind}
    assert {int(kind) for kind in MessageKind} == set(messages_pb2.MessageKind.values()) - {0}
    assert {int(state) for state in MessageState} == set(messages_pb2.MessageState.values()) - {0}


def test_another_tenants_messages_are_out_of_reach(service, store):
    _queue(store, 1, tenant="tenants/ten_other")
    assert _reason(lambda: _list(service, tenant="tenants/ten_other")) == "PERMISSION_DENIED"
    name = "tenants/ten_other/messages/msg_000001"
    assert _reason(lambda: service.ResendMessage(messages_pb2.ResendMessageRequest(name=name))) == "PERMISSION_DENIED"
    previews = messages_pb2.PreviewMessagesRequest(tenant="tenants/ten_other")
    assert _reason(lambda: service.PreviewMessages(previews)) == "PERMISSION_DENIED"
    assert _reason(lambda: service.GetMessage(messages_pb2.GetMessageRequest(name=name))) == "PERMISSION_DENIED"


def test_a_caller_without_a_token_is_not_served_with_the_notifiers_own(address, store, directory):
    _queue(store, 1)
    with open_channel(address) as channel:
        nobody = messages_pb2_grpc.MessageServiceStub(channel)
        assert _reason(lambda: _list(nobody)) == "UNAUTHENTICATED"
    with open_channel(address, "wrong") as channel:
        stranger = messages_pb2_grpc.MessageServiceStub(channel)
        assert _reason(lambda: _list(stranger)) == "PERMISSION_DENIED"
    assert directory.calls == ["GetTenant"]


def test_a_message_of_another_tenant_is_not_found_under_ones_own(service, store):
    _queue(store, 1, tenant="tenants/ten_other")
    (hidden,) = store.page("tenants/ten_other", before=None, limit=1)
    assert hidden.key == 1
    for identifier in ("msg_00001b", "msg_1", "usr_000001", "", "msg_000001/x"):
        name = f"{TENANT}/messages/{identifier}"
        assert _reason(lambda name=name: service.GetMessage(messages_pb2.GetMessageRequest(name=name))) in {
            "NOT_FOUND",
            "INVALID_ARGUMENT",
        }


@pytest.mark.parametrize("token", ["x", "bWVzc2FnZXM=", "bWVzc2FnZXMgdGVuYW50cy90ZW5fb3RoZXIgMQ=="])
def test_a_page_token_from_elsewhere_is_refused(service, token):
    assert _reason(lambda: _list(service, page_token=token)) == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("tenant", ["", "tenants/", "tenants/a/b", "users/x"])
def test_a_request_that_names_no_tenant_is_refused_before_anything_is_asked(service, directory, tenant):
    assert _reason(lambda: _list(service, tenant=tenant)) == "INVALID_ARGUMENT"
    assert directory.calls == []


def test_a_directory_that_is_down_is_told_as_a_passing_trouble(service, directory):
    directory.go_away()
    with pytest.raises(grpc.RpcError) as caught:
        _list(service)
    failure = failure_of(caught.value)
    assert failure.reason == "STORE_UNAVAILABLE"
    assert failure.retry_after_s == 1.0
