"""The pages of `docs/` that are generated from the schemas."""

import json
from collections.abc import Callable

from schemas.columns import Column
from schemas.exit_codes import ExitCode
from schemas.manifest import COLUMNS
from schemas.manifest_model import manifest_json_schema
from schemas.reasons import RESERVED, reasons_markdown
from schemas.repairs import WHY
from schemas.tables import PUBLISHED

_GENERATED = "Generated from `{}`; do not edit by hand."

_MANIFEST = """# The manifest

{generated}

A manifest is a table with one row for each clip of a run. It can be CSV (separated by `,`, `;` or
tabs), JSON Lines or Parquet. It can be on a disk or in a store.

## Write and check a manifest

The smallest manifest, `manifest.csv`:

```csv
clip_id,source_uri
reel-0042,reels/0042.mkv
reel-0043,s3://films/reels/0043.mkv
```

```sh
archive-restore validate manifest.csv
```

`validate` lists every fault with its row and column. If there is a fault, nothing is started. An
unknown column is ignored. `validate`, `plan`, `submit` and `triage` print a warning about it on
stderr; with `--json` the result has it under `warnings`.

In CSV the header is row 1. In JSON Lines the row is the line number. In Parquet the first row is
row 1.

With a checksum, a collection and an embargo:

```csv
clip_id,source_uri,checksum_algo,checksum,collection,embargo_until
reel-0042,reels/0042.mkv,md5,9e107d9d372bb6826bd81d3542a419d6,newsreels,2030-01-01
```

As JSON Lines:

```json
{{"clip_id": "reel-0042", "source_uri": "reels/0042.mkv", "collection": "newsreels"}}
```

## Columns

{columns}

[manifest.schema.json](manifest.schema.json) is the JSON Schema of one row of JSON Lines.

## Addresses

Write an address as `s3://bucket/key`, `file:///path` or a path. A relative path starts at the
manifest's folder. Set the allowed places of sources with
[ARCHIVE_RESTORE_ALLOW](operations.md#what-a-manifest-may-name).

These addresses are refused before anything is read:

- another scheme;
- credentials (the program takes them from the AWS chain);
- a `..` segment or a backslash;
- control characters, invisible characters, and characters that look like a separator;
- a folder, a device or a network share;
- a host name in place of a bucket;
- text that a spreadsheet reads as a formula: `=`, `+`, `-` or `@` first. Write `./` before it.
"""

_TABLES = """# The tables

{generated}

Every run writes its results as Parquet tables. Ask them in SQL:

```sh
archive-restore query "SELECT state, count(*) FROM clips GROUP BY state" --out restored
archive-restore query --view worst_clips --out restored
archive-restore query --describe clips
```

`query --views` lists the views, `query --describe NAME` the columns of a table or a view with their
units. A person gets at most 100 rows; `--limit 0` prints all of them.

The files are `OUT/tables/<table>/run_date=YYYY-MM-DD/<run>/part-<n>.parquet`. A run writes them
when it ends. They are derived from the ledger, so a second write gives the same rows. What a
person decides or puts back is written at once, into files of the day: there the folder `day` is in
the place of `<run>`.

Each of these lines reads a whole table in Python, with `run_date` as its last column:

```python
pandas.read_parquet("restored/tables/clips")
polars.read_parquet("restored/tables/clips")
duckdb.sql("SELECT * FROM 'restored/tables/clips/**/*.parquet'")
spark.read.parquet("restored/tables/clips")
```

`spark` is a session of PySpark. Spark reads a time in the time zone of its session.

Unit and meaning of a column are also in the files: `unit` and `description` in the metadata of its
Arrow field (`pyarrow.parquet.read_schema`).

An unknown fact is null. A column never changes its name, type or unit. New columns may be added.
"""


_REASONS_OF_REGIONS = """
A region is a connected part of the picture, of 6 pixels or more. It stands out of the frames before
and after, or the model removes it. A region that may be real keeps the source: a *suspect*. The
recipe key `suspects = "repair"` has suspects repaired as well. `why` is then unchanged.

```sh
archive-restore query --view suspects --out restored
archive-restore query --view largest_repairs --out restored
archive-restore query --view review_queue --out restored
```

The views show the last restoration of each clip, the largest regions first. `review_queue` has the
clips that the [rules](metrics.md#verdicts) do not pass and that no person has accepted, with the
sentence why. The codes of `why`:

| code | meaning |
|---|---|"""


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
    parts.append(_REASONS_OF_REGIONS)
    parts += [f"| `{code}` | {sentence} |" for code, sentence in WHY.items()]
    return "\n".join(parts) + "\n"


def exit_codes_table() -> str:
    """Return the table of exit codes for `docs/cli.md`."""
    rows = ["| exit code | meaning |", "|---|---|"]
    for code in ExitCode:
        reserved = f" {RESERVED}" if code.reserved else ""
        rows.append(f"| {int(code)} | {code.meaning}{reserved} |")
    return "\n".join(rows)


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
