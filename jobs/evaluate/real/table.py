"""Shares of repaired defects and of harmed real things, by class, by film and over all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jobs.evaluate.real.classes import DEFECTS, REAL
from jobs.evaluate.real.stand_out import HARMED_FROM, REPAIRED_FROM

Row = dict[str, object]
BY_CLASS = ("| class | kind | places | repaired or harmed |", "|---|---|--:|--:|")
BY_FILM = ("| film | defects | repaired | real things | harmed |", "|---|--:|--:|--:|--:|")
FROM = {"defect": REPAIRED_FROM, "real": HARMED_FROM}  # share that must be gone


def is_hit(place: Mapping[str, object]) -> bool:
    """Return whether a place counts as a repaired defect or as a harmed real thing."""
    return float(str(place["gone"])) >= FROM[str(place["kind"])]


def summarise(places: Sequence[Mapping[str, object]]) -> list[Row]:
    """Return one row for each size and class, film and kind; "all" is over all films."""
    rows: list[Row] = []
    for size in dict.fromkeys(place["size"] for place in places):
        of_size = [place for place in places if place["size"] == size]
        for group in ("class", "clip"):
            for name in _order({str(place[group]) for place in of_size}):
                rows += _kinds(size, group, name, [p for p in of_size if p[group] == name])
        rows += _kinds(size, "all", "all", of_size)
    return rows


def _order(names: Iterable[str]) -> list[str]:
    known = [*DEFECTS, *REAL]
    return sorted(names, key=lambda name: (known.index(name) if name in known else -1, name))


def _kinds(
    size: object, group: str, name: str, places: Sequence[Mapping[str, object]]
) -> list[Row]:
    rows: list[Row] = []
    for kind in FROM:
        of_kind = [place for place in places if place["kind"] == kind]
        if of_kind:
            hits = sum(map(is_hit, of_kind))
            row = {"size": size, "by": group, "name": name, "kind": kind}
            rows.append(row | {"places": len(of_kind), "hits": hits, "share": hits / len(of_kind)})
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Return the tables of every size as Markdown: by class, by film, over all."""
    blocks: list[str] = []
    for size in dict.fromkeys(row["size"] for row in rows):
        of_size = [row for row in rows if row["size"] == size]
        classes = [row for row in of_size if row["by"] == "class"]
        lines = [f"`{size}`", "", *BY_CLASS]
        lines += [f"| {r['name']} | {r['kind']} | {r['places']} | {_percent(r)} |" for r in classes]
        lines += ["", *BY_FILM]
        films = [row for row in of_size if row["by"] != "class"]
        for name in dict.fromkeys(row["name"] for row in films):
            kinds = {row["kind"]: row for row in films if row["name"] == name}
            cells = [c for kind in FROM for c in _cells(kinds.get(kind))]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _cells(row: Row | None) -> tuple[str, str]:
    return ("0", "-") if row is None else (str(row["places"]), _percent(row))


def _percent(row: Row) -> str:
    return f"{100 * float(str(row['share'])):.0f} %"
