"""The generated pages of `docs/` that say what the schemas say."""

import json
from collections.abc import Callable

from schemas.columns import Column
from schemas.manifest import COLUMNS
from schemas.manifest_model import manifest_json_schema
from schemas.reasons import reasons_markdown
from schemas.tables import PUBLISHED

_GENERATED = "Generated from `{}`; do not edit by hand."

_MANIFEST = """# The manifest

{generated}

A manifest lists the clips of a run, one row for each: CSV (also with `;` or tabs), JSON Lines or
Parquet, on a disk or in a store. `archive-restore validate MANIFEST` checks it and names every
fault at once, with its row and column; with any fault nothing is started. A column that is not
listed here is a warning and is ignored. Rows are counted as a person sees them: in CSV the header
is row 1, in JSON Lines a row is its line, in Parquet rows count from 1.

{columns}

A row of JSON Lines in JSON Schema: [manifest.schema.json](manifest.schema.json).

## Examples

The least, `manifest.csv`:

```csv
clip_id,source_uri
reel-0042,reels/0042.mkv
reel-0043,s3://films/reels/0043.mkv
```

With fixity, a collection and an embargo:

```csv
clip_id,source_uri,checksum_algo,checksum,collection,embargo_until
reel-0042,reels/0042.mkv,md5,9e107d9d372bb6826bd81d3542a419d6,newsreels,2030-01-01
```

In JSON Lines:

```json
{{"clip_id": "reel-0042", "source_uri": "reels/0042.mkv", "collection": "newsreels"}}
```

## Addresses

`s3://bucket/key`, `file:///path` and paths; a relative path starts at the manifest's folder.
Refused before anything is read: every other scheme, credentials (they come from the AWS chain),
`..`, backslashes, control and invisible characters, characters that look like a separator,
folders, devices, network shares, names of hosts in the place of a bucket, and what a spreadsheet
would take for a formula (`=`, `+`, `-`, `@` first: write `./` before it).
Where sources may lie at all is [configured](operations.md#what-a-manifest-may-name).
"""

_TABLES = """# The tables

{generated}

A run ends by writing its rows to
`OUT/tables/<table>/run_date=YYYY-MM-DD/run=<run>/part-<n>.parquet`. They are derived from the
ledger, so writing them again changes nothing. A fact that is not known is null. A column keeps its
name, type and unit for ever; new ones may be added.

```bash
archive-restore query "SELECT state, count(*) FROM clips GROUP BY state" --out restored
```
"""


def manifest_markdown() -> str:
    """Return the text of `docs/manifest.md`."""
    rows = ["| column | meaning | example |", "|---|---|---|"]
    for name, column in COLUMNS.items():
        title = f"**`{name}`**, required" if column.required else f"`{name}`"
        rows.append(f"| {title} | {column.description} | `{column.example}` |")
    generated = _GENERATED.format("schemas/manifest.py")
    return _MANIFEST.format(generated=generated, columns="\n".join(rows))


def manifest_schema() -> str:
    """Return the text of `docs/manifest.schema.json`."""
    return json.dumps(manifest_json_schema(), indent=2) + "\n"


def tables_markdown() -> str:
    """Return the text of `docs/tables.md`."""
    parts = [_TABLES.format(generated=_GENERATED.format("schemas/tables.py"))]
    for name, columns in PUBLISHED.items():
        parts += [f"\n## {name}\n", "| column | type | unit | meaning |", "|---|---|---|---|"]
        parts += [_table_row(key, column) for key, column in columns.items()]
    return "\n".join(parts) + "\n"


def _table_row(name: str, column: Column) -> str:
    kind = f"{column.type}" + (", never null" if column.required else "")
    values = " One of " + ", ".join(f"`{v}`" for v in column.values) + "." if column.values else ""
    if name == "reason":
        values = " See [reason codes](reason-codes.md)."
    return f"| `{name}` | {kind} | {column.unit} | {column.description}{values} |"


PAGES: dict[str, Callable[[], str]] = {
    "manifest.md": manifest_markdown,
    "manifest.schema.json": manifest_schema,
    "reason-codes.md": reasons_markdown,
    "tables.md": tables_markdown,
}
