"""How the report looks: on a wide screen, at 400 pixels, and on paper."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; color: #1b1b1b; background: #fff; overflow-wrap: break-word;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .6rem; padding-bottom: .2rem;
  border-bottom: 2px solid #0072b2; }
p, dl, li { max-width: 46rem; }
.summary { font-size: 1.2rem; line-height: 1.45; padding: .8rem 1rem; background: #eef5fa;
  border-left: 5px solid #0072b2; }
.notes { padding: .1rem 1rem .3rem; margin-top: 1.5rem; background: #fdf3ec;
  border-left: 5px solid #d55e00; }
.notes h2 { margin-top: .6rem; border: 0; }
.wide { overflow-x: auto; margin: 0 0 1.5rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #d8d8d8; vertical-align: top; }
thead th { text-align: right; vertical-align: bottom; border-bottom: 2px solid #767676; }
th:first-child { position: sticky; left: 0; background: #fff; }
tbody th { text-align: left; font-weight: 400; min-width: 8rem; max-width: 18rem; }
td { text-align: right; white-space: nowrap; }
td small { display: block; color: #5a5a5a; }
tbody tr:nth-child(even) > * { background: #f7f7f7; }
.legend { font-size: .9rem; color: #4a4a4a; }
figure { margin: 1.5rem 0 2.5rem; max-width: 46rem; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: .9rem; color: #4a4a4a; margin-top: .4rem; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0 0 .2rem 1.2rem; overflow-wrap: anywhere; }
dd dt { font-weight: 400; margin-top: 0; }
dd dl, dd ul { margin: 0; padding-left: 1.1rem; }
dd dl { padding-left: 0; }
@media (max-width: 30rem) {
  main { padding: .5rem .8rem 3rem; }
  h1 { font-size: 1.4rem; }
  .summary { font-size: 1.05rem; }
  th, td { padding: .3rem .45rem; }
  tbody th { min-width: 5.5rem; max-width: 8rem; }
}
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .35rem; }
  tbody th { min-width: 0; }
  tr { break-inside: avoid; }
  thead { display: table-header-group; }
  h2, h3, dt { break-after: avoid; }
  figure { max-width: 13cm; }
}
"""
