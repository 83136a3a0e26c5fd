"""`murmur settings`: every setting, its value and where the value came from."""

from __future__ import annotations

import typer
from rich.table import Table

from infra.cli.output import AsJson, out, print_json
from infra.settings import PREFIX, Origin, Settings, load

app = typer.Typer()


@app.command()
def settings(as_json: AsJson = False) -> None:
    """Show every setting with its value and origin; secrets are masked.

    Origins: env (`MURMUR_…`), file (`MURMUR_SETTINGS_FILE`), stack (the running local stack),
    default.

    Example: `MURMUR_BUCKETS=64 murmur settings`
    """
    loaded = load()
    shown = loaded.shown()
    described = {name: field.description or "" for name, field in Settings.model_fields.items()}
    if as_json:
        print_json(
            {
                name: {"value": value, "origin": loaded.origins[name], "about": described[name]}
                for name, value in shown.items()
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for title in ("setting", "value", "origin", "about"):
        table.add_column(title, overflow="fold")
    for name, value in shown.items():
        origin = loaded.origins[name]
        style = "dim" if origin == Origin.DEFAULT else "bold"
        words = "" if value is None else str(value)
        table.add_row(f"{PREFIX}{name.upper()}", words, origin, described[name], style=style)
    out.print(table)
