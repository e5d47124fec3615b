"""The style of a report: one string, since the page must stand alone."""

from dashboards.look import FONT, INK, MUTED

STYLESHEET = f"""
:root {{ color-scheme: light; --ink: {INK}; --muted: {MUTED}; --line: #e2e8f0;
  --soft: #f6f8fb; --accent: #0072b2; }}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: var(--soft); color: var(--ink);
  font: 16px/1.6 {FONT}; }}
main, footer {{ max-width: 1120px; margin: 0 auto; padding: 0 24px; }}
header.page {{ background: #fff; border-bottom: 1px solid var(--line); margin-bottom: 28px; }}
header.page > div {{ max-width: 1120px; margin: 0 auto; padding: 40px 24px 28px; }}
.study {{ margin: 0 0 6px; color: var(--accent); font-weight: 600; font-size: 15px;
  letter-spacing: .02em; overflow-wrap: anywhere; }}
h1 {{ margin: 0; font-size: clamp(24px, 3.2vw, 34px); line-height: 1.22; letter-spacing: -.015em;
  max-width: 26em; overflow-wrap: anywhere; text-wrap: balance; }}
.expect {{ margin: 16px 0 0; max-width: 46em; color: #475569; overflow-wrap: anywhere; }}
.expect b {{ color: var(--ink); font-weight: 600; }}
dl.facts {{ display: flex; flex-wrap: wrap; gap: 12px 40px; margin: 26px 0 0; }}
dl.facts div {{ display: flex; flex-direction: column-reverse; }}
dl.facts dt {{ color: var(--muted); font-size: 13px; line-height: 1.35; }}
dl.facts dd {{ margin: 0; font-size: 21px; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }}
section {{ background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: 24px 26px 20px; margin: 0 0 22px; }}
h2 {{ margin: 0 0 4px; font-size: 20px; line-height: 1.3; letter-spacing: -.01em; }}
p.caption {{ margin: 0 0 14px; color: #475569; font-size: 14.5px; line-height: 1.55;
  max-width: 58em; }}
section > :last-child {{ margin-bottom: 0; }}
p.note {{ margin: 10px 0 6px; padding: 12px 16px; background: var(--soft); border-radius: 8px;
  border-left: 3px solid #94a3b8; color: #475569; }}
.scroll {{ overflow-x: auto; margin: 0 -8px; padding: 0 8px; }}
.scroll:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
.plot {{ min-width: 680px; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px; line-height: 1.4;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: 8px 9px; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: middle; white-space: nowrap; }}
thead th {{ color: #475569; font-weight: 600; font-size: 12.5px; line-height: 1.3;
  vertical-align: bottom; white-space: normal; border-bottom: 1.5px solid #94a3b8; }}
tbody th {{ text-align: left; font-weight: 600; }}
th:first-child, td.param, th.param {{ text-align: left; }}
td.param {{ white-space: normal; }}
tbody tr:hover {{ background: #f8fafc; }}
tr.baseline {{ background: #f1f6fb; }}
tr.baseline:hover {{ background: #eaf2f9; }}
td small {{ color: var(--muted); font-size: 12px; }}
td.primary {{ font-weight: 600; }}
td.primary small {{ font-weight: 400; }}
.tag {{ display: inline-block; margin-left: 8px; padding: 1px 8px; border-radius: 9px;
  background: #d7e8f5; color: #0b4a75; font-size: 11.5px; font-weight: 600; }}
.tag.state {{ background: #fdebd8; color: #8a3b00; }}
.absent {{ color: #94a3b8; }}
ul.trials {{ margin: 8px 0 0; padding-left: 20px; }}
ul.trials li {{ margin-bottom: 10px; overflow-wrap: anywhere; }}
pre {{ margin: 6px 0 0; padding: 10px 12px; background: var(--soft); border-radius: 8px;
  font-size: 12.5px; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere; }}
summary {{ cursor: pointer; color: var(--muted); font-size: 13.5px; }}
footer {{ color: var(--muted); font-size: 13px; padding-bottom: 48px; overflow-wrap: anywhere; }}
footer p {{ margin: 4px 0; }}
@media (max-width: 620px) {{
  main, footer {{ padding: 0 12px; }}
  header.page > div {{ padding: 26px 16px 20px; }}
  section {{ padding: 18px 16px 14px; border-radius: 10px; }}
}}
@media print {{
  @page {{ margin: 14mm; }}
  body, header.page {{ background: #fff; font-size: 11pt; }}
  header.page > div, main, footer {{ max-width: none; padding-left: 0; padding-right: 0; }}
  section {{ border: 0; padding: 0; margin-bottom: 18pt; break-inside: avoid; }}
  .scroll {{ overflow: visible; }}
  table {{ font-size: 8.5pt; }}
  th, td {{ padding: 3pt 4pt; }}
  .modebar {{ display: none; }}
}}
"""
