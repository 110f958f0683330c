"""The evidence pack of a drill as one page for people: no network, no script, no second file.

The verdict comes first and what it means in plain words; then what an auditor asks for; then every detail that the
pack has. Every value in it is escaped.
"""

from __future__ import annotations

import datetime as dt
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from restore_proof.controls import controls
from restore_proof.report_style import STYLE
from restore_proof.report_words import duration, label, meaning, moment, story, value
from restore_proof.verdict import Result

MOOD: Final = {
    Result.PROVEN: "good",
    Result.PROVEN_DRIFTING: "good",
    Result.UNPROVEN: "unsure",
    Result.FAILED: "bad",
}
CLASSES: Final = {
    "expected_from_aws_backup": "expected from AWS Backup",
    "repairable": "repairable",
    "alarming": "alarming",
}


def render_report(document: Mapping[str, Any], sha256: str) -> str:
    """Render an evidence pack as one self-contained HTML page.

    Args:
        document: the pack, as `restore_proof.evidence.pack_document` returns it.
        sha256: the hash of the stored pack, which the page states.
    """
    verdict = document["verdict"]
    title = f"{verdict['label']}: restore of {verdict['table_name']}, {verdict['as_of']}"
    sections = (
        _section("What was done and found", _story(document)),
        _section("What this says about controls", _controls(document)),
        _section("Which, when, who", _facts(_done(document))),
        _section("How long it took", _phases(document)),
        _section("Content", _content(document)),
        _section("Differences", _differences(document)),
        _section("Settings", _settings(document["settings"])),
        _section("What it cost", _cost(document.get("cost"))),
        _section("What was loaded and read", _figures(document)),
        _section("The two jobs", _jobs(document)),
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
<style>{STYLE}</style>
</head>
<body>
<h1>Restore drill of table {_text(verdict["table_name"])}, {_text(verdict["as_of"])}</h1>
<div class="verdict {MOOD[Result(verdict["result"])]}">
<strong>{_text(verdict["label"])}</strong>
<p class="meaning">{_text(meaning(document))}</p>
<ul>{reasons}</ul>
<p class="soft">A proof of this depth ({_text(verdict["depth"])}) can't see: {_text(verdict["blind_to"])}</p>
</div>
{_headline(document)}
{"".join(sections)}
<footer>
<p>This page shows the pack beside it, pack.json, which counts where the two differ. SHA-256 of that pack:
<code>{_text(sha256)}</code></p>
<p>{_place(document)}</p>
<p>Written {_text(moment(document["written_at"]))}, format {_text(document["version"])}.</p>
</footer>
</body>
</html>
"""


def _headline(document: Mapping[str, Any]) -> str:
    verdict, comparison = document["verdict"], document["comparison"] or {}
    seconds = {phase["name"]: phase["seconds"] for phase in document["phases"]}
    figures = {
        "items compared": value(comparison.get("compared")),
        "restore took": duration(seconds["restore"]) if "restore" in seconds else value(None),
        "whole drill took": duration(document["seconds_total"]) if document["seconds_total"] else value(None),
        "age of the recovery point": _age(document["backup"].get("created_at"), verdict["decided_at"]),
    }
    cost = document.get("cost")
    total = _total(cost) if cost is not None else None
    if total is not None:
        figures["cost, reckoned"] = f"{total:,.4f} USD"
    cells = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(shown)}</dd></div>" for name, shown in figures.items())
    return f'<dl class="figures">{cells}</dl>'


def _age(made: object, decided_at: str) -> str:
    try:
        span = dt.datetime.fromisoformat(decided_at) - dt.datetime.fromisoformat(str(made))
    except (ValueError, TypeError):
        return value(None)
    return duration(max(0.0, span.total_seconds()))


def _total(cost: Mapping[str, Any]) -> float | None:
    """Return the total of a reckoning; of estimate and actual the latter."""
    actual = cost.get("actual")
    found = cost.get("total_usd", actual.get("total_usd") if isinstance(actual, Mapping) else None)
    return float(found) if isinstance(found, int | float) else None


def _story(document: Mapping[str, Any]) -> str:
    return "".join(f"<p>{_text(paragraph)}</p>" for paragraph in story(document))


def _controls(document: Mapping[str, Any]) -> str:
    rows = ((each.name, each.asks, each.shows, each.lacks) for each in controls(document))
    table = _rows(("Control", "Asks that", "This drill shows", "It does not show"), rows, none="", words=(1, 2, 3))
    return f'{table}<p class="soft">In this project\'s own words; no legal advice.</p>'


def _done(document: Mapping[str, Any]) -> dict[str, Any]:
    verdict = document["verdict"]
    return {
        "Recovery point": verdict["recovery_point_arn"],
        "made at": document["backup"].get("created_at"),
        "of table": verdict["table_name"],
        "Restored to": verdict["restored_table_name"],
        "Requested by": document["requested_by"],
        "Run": verdict["run"],
        "Drill": document["drill_id"],
        "Decided at": verdict["decided_at"],
    }


def _phases(document: Mapping[str, Any]) -> str:
    phases = document["phases"]
    if not phases:
        return "<p>No timings were recorded.</p>"
    start = min(dt.datetime.fromisoformat(phase["started_at"]) for phase in phases)
    span = document["seconds_total"] or 1
    rows = []
    for phase in phases:
        offset = (dt.datetime.fromisoformat(phase["started_at"]) - start).total_seconds()
        left, width = (min(100.0, max(0.0, 100 * part / span)) for part in (offset, phase["seconds"]))
        bar = f'<div class="bar" style="margin-left:{left:.2f}%;width:{min(width, 100 - left):.2f}%"></div>'
        rows.append(
            f'<tr><td>{_text(label(phase["name"]))}</td><td class="nowrap">{_text(moment(phase["started_at"]))}</td>'
            f'<td class="nowrap">{_text(moment(phase["ended_at"]))}</td>'
            f'<td class="number">{_text(duration(phase["seconds"]))}</td><td class="timeline">{bar}</td></tr>'
        )
    head = '<th>Phase</th><th>Began</th><th>Ended</th><th class="number">Took</th><th class="timeline"></th>'
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p>From first to last: {_text(duration(span))}.</p>"
    )


def _figures(document: Mapping[str, Any]) -> str:
    figures = document.get("figures") or {}
    columns = list(dict.fromkeys(figure for values in figures.values() for figure in values))
    return _rows(
        ("What", *map(label, columns)),
        ((name, *(value(values.get(figure)) for figure in columns)) for name, values in figures.items()),
        none="No figures were kept.",
        numbers=range(1, len(columns) + 1),
    )


def _content(document: Mapping[str, Any]) -> str:
    fingerprints = _rows(
        ("Fingerprint", "Digest", "Items"),
        ((name, taken["digest"], value(taken["items"])) for name, taken in document["fingerprints"].items()),
        none="No fingerprints were taken.",
        numbers=(2,),
    )
    comparison = document["comparison"]
    if comparison is None:
        return fingerprints + "<p>The contents were not compared.</p>"
    ratio = comparison["unverifiable_ratio"]
    facts = {
        "Outcome": label(comparison["outcome"]),
        "Written to during the backup": comparison["drifting"],
        "Items compared": comparison["compared"],
        "Right": comparison["proven"],
        "Missing": comparison["missing"],
        "Extra": comparison["extra"],
        "Changed": comparison["changed"],
        "Changed during the backup": comparison["changed_between"],
        "Unverifiable": comparison["unverifiable"],
        # Packs of earlier releases counted absent items among those that are right.
        "Deleted during the backup, and absent": comparison.get("absent_deleted"),
        "Added during the backup, and absent": comparison.get("absent_added"),
        "Share that can't be verified (limit)": f"{'unknown' if ratio is None else format(ratio, '.2%')} "
        f"({comparison['max_unverifiable_ratio']:.2%})",
        "Buckets that differ": f"{comparison['unequal_buckets']:,} of {comparison['buckets']:,}",
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
            (found["kind"], json.dumps(found["key"]), *(value(found[at]) for at in ("before", "after", "restored")))
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
                label(found["name"]),
                CLASSES.get(found["class"], found["class"]),
                json.dumps(found["recorded"]),
                json.dumps(found["restored"]),
                found["remark"],
            )
            for found in settings["differences"]
        ),
        none="The restored table has all settings that were recorded.",
        words=(1,),
    )
    if settings["unread"]:
        table += "<p>These could not be read, and so were not compared:</p>" + _facts(settings["unread"])
    return table


def _cost(cost: Mapping[str, Any] | None, level: int = 0) -> str:
    """Show what was reckoned, whatever its parts are called: plain values, lists of rows, and groups of these."""
    if cost is None:
        return "<p>The cost was not reckoned.</p>"
    plain = {name: content for name, content in cost.items() if not isinstance(content, Mapping | list)}
    shown = _facts({label(name): content for name, content in plain.items()}) if plain else ""
    for name, content in cost.items():
        if isinstance(content, Mapping):
            body = _cost(content, level + 1) if level == 0 else _facts(content)
            shown += f"<h3>{_text(label(name))}</h3>{body}"
        elif isinstance(content, list) and all(isinstance(row, Mapping) for row in content):
            columns = list(dict.fromkeys(column for row in content for column in row))
            rows = ([value(row.get(column)) for column in columns] for row in content)
            shown += _rows([label(column) for column in columns], rows, none="")
        elif isinstance(content, list):
            shown += _facts({label(name): content})
    return shown


def _jobs(document: Mapping[str, Any]) -> str:
    shown = ""
    for job in ("backup", "restore"):
        # What is nested, such as where the fingerprints lie, is for machines: the pack has it.
        facts = {label(name): content for name, content in document[job].items() if not isinstance(content, Mapping)}
        shown += f"<h3>{job.capitalize()}</h3>{_facts(facts) if facts else '<p>Nothing is known of it.</p>'}"
    return shown


def _place(document: Mapping[str, Any]) -> str:
    """Say where the pack stands in the chain of its table."""
    previous = document["previous_sha256"]
    place = f"number {document['position']}" if "position" in document else "one"
    if previous is None:
        return "It is the first of the chain of this table's packs."
    before = f"SHA-256 of the one before: <code>{_text(previous)}</code>"
    return f"It is {_text(place)} of the chain of this table's packs. {before}"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>\n"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{_text(name)}</th><td>{_text(value(shown))}</td></tr>" for name, shown in facts.items())
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>'


def _rows(
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    none: str,
    numbers: Sequence[int] = (),
    words: Sequence[int] = (),
) -> str:
    def cell(tag: str, column: int, content: Any) -> str:
        kinds = [name for name, columns in (("number", numbers), ("word", words)) if column in columns]
        kinds += ["alarming"] if content == CLASSES["alarming"] else []
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        return f"<{tag}{kind}>{_text(content)}</{tag}>"

    body = "".join(f"<tr>{''.join(cell('td', *each) for each in enumerate(row))}</tr>" for row in rows)
    if not body:
        return f"<p>{_text(none)}</p>"
    titles = "".join(cell("th", *each) for each in enumerate(head))
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _text(content: object) -> str:
    return html.escape(str(content), quote=True)
