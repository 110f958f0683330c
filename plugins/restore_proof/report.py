"""The evidence pack of a drill as one page for people: no network, no script, no second file.

Every value in it is escaped.
"""

from __future__ import annotations

import datetime as dt
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from restore_proof.verdict import Result

_MOOD = {
    Result.PROVEN: "good",
    Result.PROVEN_DRIFTING: "good",
    Result.UNPROVEN: "unsure",
    Result.FAILED: "bad",
}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --unsure: #9a6700; --bad: #cf222e; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { border-left: .5rem solid; padding: .6rem 1rem; margin: 1rem 0; }
.verdict strong { font-size: 1.5rem; }
.good { border-color: var(--good); } .good strong { color: var(--good); }
.unsure { border-color: var(--unsure); } .unsure strong { color: var(--unsure); }
.bad { border-color: var(--bad); } .bad strong { color: var(--bad); }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid
var(--line); } td { overflow-wrap: anywhere; } td.number, th.number { text-align: right;
font-variant-numeric: tabular-nums; } code { font-size: .85em; overflow-wrap: anywhere; }
.bar { background: currentColor; opacity: .45; height: .6rem; min-width: 1px; }
.timeline { width: 45%; } footer { margin-top: 2rem; font-size: .85em; border-top: 1px solid var(--line); }
"""


def render_report(document: Mapping[str, Any], sha256: str) -> str:
    """Render an evidence pack as one self-contained HTML page.

    Args:
        document: the pack, as `pack_document` returns it.
        sha256: the hash of the stored pack, which the page states.
    """
    verdict = document["verdict"]
    title = f"{verdict['label']}: restore of {verdict['table_name']}, {verdict['as_of']}"
    sections = (
        _section("What was done", _facts(_done(document))),
        _section("How long it took", _phases(document)),
        _section("What was loaded and read", _figures(document)),
        _section("Content", _content(document)),
        _section("Differences", _differences(document)),
        _section("Settings", _settings(document["settings"])),
        _section("Versions", _facts(document["versions"])),
    )
    reasons = "".join(f"<li>{_text(reason)}</li>" for reason in verdict["reasons"])
    # The policy keeps the page inert even if an escape were forgotten: nothing is loaded and no script runs.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Restore of table {_text(verdict["table_name"])}, {_text(verdict["as_of"])}</h1>
<div class="verdict {_MOOD[Result(verdict["result"])]}">
<strong>{_text(verdict["label"])}</strong>
<ul>{reasons}</ul>
<p>A proof of this depth can't see: {_text(verdict["blind_to"])}</p>
</div>
{"".join(sections)}
<footer>
<p>SHA-256 of the pack beside this page: <code>{_text(sha256)}</code><br>
SHA-256 of the pack before it: <code>{_text(document["previous_sha256"] or "none, the first")}</code></p>
</footer>
</body>
</html>
"""


def _done(document: Mapping[str, Any]) -> dict[str, Any]:
    verdict = document["verdict"]
    facts = {
        "Recovery point": verdict["recovery_point_arn"],
        "Restored to": verdict["restored_table_name"],
        "Run": verdict["run"],
        "Requested by": document["requested_by"],
        "Decided at": verdict["decided_at"],
        "Drill": document["drill_id"],
    }
    for job in ("backup", "restore"):
        facts |= {f"{job.capitalize()}: {name}": value for name, value in document[job].items()}
    return facts


def _phases(document: Mapping[str, Any]) -> str:
    phases = document["phases"]
    if not phases:
        return "<p>No timings were recorded.</p>"
    start = min(dt.datetime.fromisoformat(phase["started_at"]) for phase in phases)
    span = document["seconds_total"] or 1
    rows = []
    for phase in phases:
        offset = (dt.datetime.fromisoformat(phase["started_at"]) - start).total_seconds()
        left, width = (min(100.0, max(0.0, 100 * value / span)) for value in (offset, phase["seconds"]))
        bar = f'<div class="bar" style="margin-left:{left:.2f}%;width:{min(width, 100 - left):.2f}%"></div>'
        rows.append(
            f"<tr><td>{_text(phase['name'])}</td><td>{_text(phase['started_at'])}</td>"
            f'<td class="number">{phase["seconds"]:.1f} s</td><td class="timeline">{bar}</td></tr>'
        )
    head = '<tr><th>Phase</th><th>Began</th><th class="number">Took</th><th class="timeline"></th></tr>'
    return f"<table>{head}{''.join(rows)}</table><p>From first to last: {span:.1f} s.</p>"


def _figures(document: Mapping[str, Any]) -> str:
    figures = document.get("figures") or {}
    return _rows(
        ("What", "Figure", "Value"),
        ((name, figure, value) for name, values in figures.items() for figure, value in values.items()),
        none="No figures were kept.",
    )


def _content(document: Mapping[str, Any]) -> str:
    fingerprints = _rows(
        ("Fingerprint", "Items", "Digest"),
        ((name, taken["items"], taken["digest"]) for name, taken in document["fingerprints"].items()),
        none="No fingerprints were taken.",
    )
    comparison = document["comparison"]
    if comparison is None:
        return fingerprints + "<p>The contents were not compared.</p>"
    ratio = comparison["unverifiable_ratio"]
    facts = {
        "Outcome": comparison["outcome"],
        "Table was written to during the backup": "yes" if comparison["drifting"] else "no",
        "Items compared": comparison["compared"],
        "Right": comparison["proven"],
        "Missing": comparison["missing"],
        "Extra": comparison["extra"],
        "Changed": comparison["changed"],
        "Changed during the backup": comparison["changed_between"],
        "Unverifiable": comparison["unverifiable"],
        "Unverifiable share (limit)": f"{'unknown' if ratio is None else format(ratio, '.2%')} "
        f"({comparison['max_unverifiable_ratio']:.2%})",
        "Buckets that differ": f"{comparison['unequal_buckets']} of {comparison['buckets']}",
    }
    return fingerprints + _facts(facts)


def _differences(document: Mapping[str, Any]) -> str:
    comparison = document["comparison"]
    if comparison is None or not comparison["keys_named"]:
        return "<p>The single items were not looked at.</p>"
    listed, total = comparison["differences"], comparison["differences_total"]
    table = _rows(
        ("Kind", "Key", "Hash before", "Hash after", "Hash restored"),
        (
            (found["kind"], json.dumps(found["key"]), found["before"], found["after"], found["restored"])
            for found in listed
        ),
        none="None.",
    )
    if total > len(listed):
        diff_file = f"<code>{_text(document['diff_file'])}</code>"
        table += f"<p>{len(listed)} of {total} are listed; all are in {diff_file}.</p>"
    return table


def _settings(settings: Mapping[str, Any] | None) -> str:
    if settings is None:
        return "<p>The settings were not compared.</p>"
    table = _rows(
        ("Setting", "Class", "Recorded", "Restored", "Remark"),
        (
            (
                found["name"],
                found["class"],
                json.dumps(found["recorded"]),
                json.dumps(found["restored"]),
                found["remark"],
            )
            for found in settings["differences"]
        ),
        none="The restored table has all settings that were recorded.",
    )
    if settings["unread"]:
        table += "<p>These could not be read, and so were not compared:</p>" + _facts(settings["unread"])
    return table


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>\n"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f"<table>{''.join(rows)}</table>"


def _rows(head: Sequence[str], rows: Iterable[Sequence[Any]], *, none: str) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in rows)
    if not body:
        return f"<p>{_text(none)}</p>"
    return f"<table><tr>{''.join(f'<th>{_text(name)}</th>' for name in head)}</tr>{body}</table>"


def _text(value: object) -> str:
    return html.escape("–" if value is None else str(value), quote=True)  # noqa: RUF001
