"""Prints answers: as a table for people, as CSV for spreadsheets, as JSON for programs."""

from __future__ import annotations

import csv
import json
import math
import sys
from datetime import date, datetime, time, timedelta
from typing import Any

import typer
from rich.table import Column, Table

from ut_clips_dagster.cli.console import cell, console, say

NARROWEST_COLUMN = 9
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins with one of these is run as a formula by spreadsheets."""

Row = tuple[Any, ...]


class _Lines:
    """Ends lines with a line feed alone; told to, csv would not quote a carriage return, which ends a line, too."""

    def write(self, line: str) -> int:
        return sys.stdout.write(f"{line.removesuffix(csv.excel.lineterminator)}\n")


def print_csv(columns: list[str], rows: list[Row]) -> None:
    """CSV; text that a spreadsheet would run as a formula gets an apostrophe in front. JSON is exact."""
    writer = csv.writer(_Lines())
    writer.writerow([_harmless(column) for column in columns])
    writer.writerows([_csv(value) for value in row] for row in rows)


def print_json(columns: list[str], rows: list[Row]) -> None:
    """One JSON list of objects, exactly what the table holds."""
    objects = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
    typer.echo(json.dumps(objects, ensure_ascii=False, allow_nan=False))


def print_table(columns: list[str], rows: list[Row]) -> None:
    """A table; with more columns than fit beside each other, a line per value."""
    if len(columns) * NARROWEST_COLUMN > console.width:
        _print_records(columns, rows)
        return
    printed = Table(*[Column(cell(column)) for column in columns])
    for row in rows:
        printed.add_row(*[cell(_text(value)) for value in row])
    console.print(printed)


def _print_records(columns: list[str], rows: list[Row]) -> None:
    width = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        console.rule(f"row {number} of {len(rows)}", align="left")
        for column, value in zip(columns, row, strict=True):
            say(f"{column:{width}}  {cell(_text(value)).plain}")


def _text(value: object) -> str | None:
    plain = _plain(value)
    if isinstance(plain, (list, dict)):
        return json.dumps(plain, ensure_ascii=False)
    return None if plain is None else str(plain)


def _csv(value: object) -> object:
    plain = _plain(value)
    text = _text(plain) if isinstance(plain, (list, dict)) else plain
    return _harmless(text) if isinstance(text, str) else text


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _plain(value: object) -> object:
    """A value as JSON knows it: times in ISO 8601, durations in seconds, what is no number as null."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
