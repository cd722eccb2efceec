"""What a plan changes in a reply before it goes to the wire."""

import msgspec
from msgspec import UNSET, structs

from fittengate.simulator.plan import Plan
from fittengate.simulator.reply import Reply, json_reply, page, usual


def changed(reply: Reply, plan: Plan, expired: str) -> Reply:
    """Return the reply with what the plan says instead of it or about it."""
    if plan.replaces:
        reply = _replacement(plan, expired)
    elif reply.pieces is None:
        if plan.raw is not None:
            reply = structs.replace(reply, body=plan.raw)
        elif plan.set or plan.drop:
            reply = _edited(reply, plan)
    return reply if plan.status is None else structs.replace(reply, status=plan.status)


def _replacement(plan: Plan, expired: str) -> Reply:
    if plan.json is not UNSET:
        return json_reply(plan.json)
    if plan.body is not None:
        return Reply(body=plan.body.encode())
    if plan.page is not None:
        return page(plan.page)
    return usual(plan.status or 200, expired)


def _edited(reply: Reply, plan: Plan) -> Reply:
    try:
        fields = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return reply
    if not isinstance(fields, dict):
        return reply
    kept = {name: value for name, value in (fields | plan.set).items() if name not in plan.drop}
    return structs.replace(reply, body=msgspec.json.encode(kept))
