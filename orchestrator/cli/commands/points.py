"""point list, show, ls, hold, release: what can be restored.

Rule of the file: the tower knows points but no names in them; ``ls`` reads the vault itself, with a key or the
passphrase.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import Tower, at
from orchestrator.cli.failures import error_document
from orchestrator.cli.ports import Listing
from orchestrator.cli.session import Session
from shared.errors import SkyharborError
from shared.model.terminal import printable

PointId = Annotated[
    str, typer.Argument(metavar="POINT", help="The point's id, its unique beginning, or 'latest' with --item.")
]
ItemOption = Annotated[str | None, typer.Option("--item", help="The item whose latest point is meant.")]
PassphraseFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Read with the passphrase; the key of this home is used without it.")
]


def commands() -> typer.Typer:
    """Return the ``point`` group."""
    group = typer.Typer(help="Recovery points: what can be restored.")
    group.command("list")(list_points)
    group.command("show")(show)
    group.command("ls")(ls)
    group.command("hold")(hold)
    group.command("release")(release)
    return group


def list_points(
    ctx: typer.Context,
    item: Annotated[
        str | None, typer.Argument(metavar="ITEM", help="The item's name or id; all items without one.")
    ] = None,
    item_option: Annotated[str | None, typer.Option("--item", metavar="ITEM", help="The same as ITEM.")] = None,
    removed: Annotated[
        bool, typer.Option("--removed", help="Of items that were removed: all, or those that had the name ITEM.")
    ] = False,
) -> None:
    """List recovery points, newest first. Those of a removed item are found by its id, or with --removed."""
    session = Session.of(ctx)
    if item is not None and item_option is not None:
        raise SkyharborError("bad-request", "the item is given twice: once is enough")
    item = item_option if item is None else item
    tower = session.tower()
    if removed:
        points = [point for one in removed_items(tower, item) for point in tower.items("/points", item=one["id"])]
    else:
        points = list(tower.items("/points", item=item))
    if session.out.json:
        session.out.document({"items": points})
        return
    if item is not None and not removed:
        tell_of_namesakes(session, item, but={point["item"]["id"] for point in points})
    session.out.table(
        ("point", "item", "sealed", "type", "files", "size", "transferred", "state", "verified"),
        (
            (
                point["id"],
                point["item"]["name"],
                formats.moment(point["sealed_at"]),
                point["type"],
                formats.count(point.get("files")),
                formats.size(point.get("bytes")),
                formats.size(point.get("bytes_transferred")),
                point["state"],
                formats.moment(point.get("verified_at")),
            )
            for point in points
        ),
        empty="no recovery points yet",
    )


def removed_items(tower: Tower, name: str | None) -> list[dict[str, Any]]:
    """Return removed items that still have points: all, or those that had a name."""
    return list(tower.items("/items", removed="true", name=name))


def tell_of_namesakes(session: Session, name: str, *, but: Collection[str] = ()) -> None:
    """Say when removed items of this name still have points, ``but`` those of these ids: the name shows others.

    It is a courtesy: where it cannot be found out, nothing is said.
    """
    try:
        removed_ones = removed_items(session.tower(), name)
    except SkyharborError:
        return
    for removed in removed_ones:
        if removed["id"] in but:
            continue
        session.out.say(
            f"note: an item of this name was removed on {formats.moment(removed['removed_at'])}, and its points stay: "
            f"skyharbor point list {removed['id']}"
        )


def show(ctx: typer.Context, point: PointId, item: ItemOption = None) -> None:
    """Show one recovery point."""
    session = Session.of(ctx)
    document = find_point(session.tower(), point, item)
    if session.out.json:
        session.out.document(document)
        return
    proven = f"{formats.moment(document.get('verified_at'))} ({document.get('verified_how')})"
    session.out.fields(
        [
            ("point", document["id"]),
            ("item", document["item"]["name"]),
            ("machine", document["machine"]["name"]),
            ("vault", f"{document['vault']['name']} ({document['vault']['url']})"),
            ("type", document["type"]),
            ("reference", document.get("reference") or "-"),
            ("state", document["state"]),
            ("sealed", formats.moment(document["sealed_at"])),
            *moments(document),
            ("last proven", proven if document.get("verified_at") else "never"),
            *_fate(document),
            ("files", formats.count(document.get("files"))),
            ("size", formats.size(document.get("bytes"))),
            ("transferred", formats.size(document.get("bytes_transferred"))),
            ("manifest", document["manifest"]),
            ("job", document.get("job_id") or "-"),
        ]
    )


def moments(point: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say which moments a point can bring back, if it is more than its own."""
    if point.get("moments_from"):
        yield (
            "any moment",
            f"from {formats.moment(point['moments_from'])} until {formats.moment(point['moments_until'])}",
        )


def hold(
    ctx: typer.Context,
    point: PointId,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Such as 2027-01-31 or 2027-01-31T18:00; without it, until it is released."),
    ] = None,
    item: ItemOption = None,
) -> None:
    """Hold a recovery point: no rule lets it go. One that is expiring comes back, unless it is doomed already."""
    session = Session.of(ctx)
    check_point(point, item)
    asked = {"until": None if until is None else formats.instant(until)}
    _told(session, session.tower().post(_at(point, "hold", item), asked))


def release(ctx: typer.Context, point: PointId, item: ItemOption = None) -> None:
    """End the hold of a recovery point. Of a damaged one it says that you have looked: retention may let it go."""
    session = Session.of(ctx)
    check_point(point, item)
    _told(session, session.tower().post(_at(point, "release", item)))


def _told(session: Session, document: dict[str, Any]) -> None:
    if session.out.json:
        session.out.document(document)
        return
    held = _held(document)
    session.out.text(f"point {document['id']} is {document['state']} and " + (held if held else "not held"))


def _at(point: str, verb: str, item: str | None) -> str:
    query = f"?item={quote(item, safe='')}" if item is not None else ""
    return at("points", point, verb) + query


def _fate(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return why a point is kept and until when, or why and since when it goes."""
    told = [("held", _held(document) or "no")]
    if document.get("expiring_at"):
        told.append(("expiring", f"since {formats.moment(document['expiring_at'])}: {document.get('expiry_reason')}"))
        told.append(("doomed", formats.moment(document.get("doomed_at"))))
    planned = document.get("retention")
    if planned is not None:
        told.append(("kept because" if planned["keep"] else "not kept", "; ".join(planned["reasons"])))
        told.append(("expires on", formats.moment(planned["expires_on"])))
    return told


def _held(document: Mapping[str, Any]) -> str:
    until = document.get("held_until")
    if until:
        return f"held until {formats.moment(until)}"
    return "held" if document.get("held_at") else ""


def check_point(point: str, item: str | None) -> None:
    """Refuse what names no point, with what to write instead; ``bad-request``."""
    if point == "latest" and item is None:
        raise SkyharborError("bad-request", "'latest' of what? Give --item NAME")
    if "/" in point:
        raise SkyharborError(
            "bad-request",
            f"{point!r} is a path, and where it stands a recovery point is named",
            hint=f"Write the point before it: latest {point} --item {item or 'NAME'}",
        )


def ls(
    ctx: typer.Context,
    point: PointId,
    path: Annotated[str | None, typer.Argument(help="Only this path and what is below it.")] = None,
    item: ItemOption = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """List what a recovery point holds."""
    session = Session.of(ctx)
    document = find_point(session.tower(), point, item)
    entries = session.lister.entries(listing_of(session, document, path=path, passphrase_file=passphrase_file))
    if not session.out.json:
        for entry in entries:
            session.out.text(_line(entry))
        return
    broken: list[SkyharborError] = []
    session.out.streamed({"point": document["id"]}, "entries", _until_broken(entries, broken))
    if broken:
        session.out.say(f"error: {broken[0]} ({broken[0].code}); the list is not complete")
        raise typer.Exit(broken[0].kind.exit_code)


def find_point(tower: Tower, point: str, item: str | None) -> dict[str, Any]:
    """Return the point's document; ``latest`` needs the item. Raises ``bad-request`` and ``not-found``."""
    check_point(point, item)
    return tower.get(at("points", point), item=item)


def listing_of(
    session: Session, document: Mapping[str, Any], *, path: str | None, passphrase_file: str | None
) -> Listing:
    """Return the request that lists a point: with the passphrase when one is given, else with the key of this home.

    Raises ``key-missing`` when there is neither.
    """
    from shared.crypto.keyring import Keyring

    machine_id = str(document["machine"]["id"])
    keyring = Keyring(session.stack.keyring_folder(session.home))
    if passphrase_file is None and not keyring.has(machine_id):
        raise SkyharborError(
            "key-missing",
            f"the keyring of {session.home} does not hold the key of machine {document['machine']['name']}",
            hint="Give --passphrase-file FILE, or unlock the machine here with 'skyharbor machine unlock'.",
        )
    return Listing(
        store=str(document["vault"]["url"]),
        machine=machine_id,
        item=str(document["item"]["name"]),
        point=str(document["id"]),
        path=path,
        key_file=None if passphrase_file is not None else keyring.path(machine_id),
        passphrase_file=passphrase_file,
    )


def _until_broken(
    entries: Iterator[Mapping[str, object]], broken: list[SkyharborError]
) -> Iterator[Mapping[str, object]]:
    """Yield entries; a failure after the first one ends the list with its error, so that the document stays whole."""
    started = False
    try:
        for entry in entries:
            started = True
            yield entry
    except SkyharborError as error:
        if not started:
            raise
        broken.append(error)
        yield error_document(error)


def _line(entry: Mapping[str, object]) -> str:
    """Return one line in the manner of ``ls -l``."""
    owner = f"{entry.get('uid')}:{entry.get('gid')}"
    pointer = f" -> {entry['target']}" if entry.get("target") else ""
    when = formats.moment(entry.get("mtime"))
    # A name with a line end must not look like an entry of its own.
    remark = ": ".join(str(entry[key]) for key in ("holds", "note") if entry.get(key))
    name = printable(f"{entry['path']}{pointer}" + (f"  ({remark})" if remark else ""))
    return (
        f"{entry.get('type')!s:<9} {formats.octal(entry.get('mode'))} {owner:>11} "
        f"{formats.size(entry.get('size')):>10} {when} {name}"
    )
