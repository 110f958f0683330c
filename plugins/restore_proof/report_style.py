"""How the page of an evidence pack looks: on a screen, light or dark, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --paper: #fff; --soft: #59636e; --line: #d1d9e0; --band: #f3f5f7;
  --good: #1a7f37; --unsure: #8a5d00; --bad: #c21c2b; --bar: #5b7fb4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e6ea; --paper: #12161b; --soft: #9aa4af; --line: #343c46; --band: #1b2129;
    --good: #4cc36b; --unsure: #dba63a; --bad: #ff7a75; --bar: #6f9be0; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; color: var(--ink);
  background: var(--paper); max-width: 64rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); }
h3 { font-size: .95rem; margin: 1.25rem 0 .25rem; }
p { margin: .4rem 0; } ul { margin: .4rem 0; padding-left: 1.2rem; }
.verdict { border: 1px solid var(--line); border-left: .6rem solid var(--mood); background: var(--band);
  border-radius: .3rem; padding: .9rem 1.2rem; }
.verdict strong { color: var(--mood); font-size: 1.6rem; line-height: 1.2; letter-spacing: .01em; }
.verdict .meaning { font-size: 1.05rem; font-weight: 600; }
.good { --mood: var(--good); } .unsure { --mood: var(--unsure); } .bad { --mood: var(--bad); }
.soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0 0; }
.figures div { flex: 1 1 8.5rem; border: 1px solid var(--line); border-radius: .3rem; padding: .5rem .8rem; }
.figures dt { color: var(--soft); font-size: .8rem; }
.figures dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { font-weight: 600; }
th, td:first-child, td.word { overflow-wrap: normal; }
thead th { color: var(--soft); font-size: .8rem; }
table.facts th { width: 15rem; font-weight: 400; color: var(--soft); }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.nowrap { white-space: nowrap; }
code { font: .85em/1.4 ui-monospace, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.timeline { width: 35%; } .bar { background: var(--bar); height: .7rem; min-width: 2px; margin-top: .35rem;
  border-radius: 2px; }
.alarming { color: var(--bad); font-weight: 600; }
footer { margin-top: 2.5rem; padding-top: .6rem; font-size: .85em; color: var(--soft);
  border-top: 2px solid var(--line); }
@media (max-width: 40rem) { table.facts th { width: 9rem; } .timeline { display: none; } }
@page { size: A4; margin: 16mm 14mm; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --band: #fff;
    --good: #14652b; --unsure: #6e4a00; --bad: #a01522; --bar: #777; }
  body { font-size: 9pt; line-height: 1.35; max-width: none; padding: 0; }
  th, td { padding: .16rem .7rem .16rem 0; }
  .figures dd { font-size: 1rem; white-space: nowrap; }
  .verdict, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2 { margin-top: 1.1rem; break-after: avoid; } h3 { break-after: avoid; }
  tr, .verdict, .figures div, li { break-inside: avoid; } thead { display: table-header-group; }
}
"""
