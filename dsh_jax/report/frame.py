"""The frame of every page that we write, and its look in light and dark."""

CSS = """
:root{color-scheme:light dark;--page:#fff;--ink:#1c1e21;--quiet:#5b6068;--line:1px solid #dde0e4;
 --right:#1b7f4b;--wrong:#b3372f}
@media (prefers-color-scheme:dark){:root{--page:#15171a;--ink:#e4e6e9;--quiet:#9ba1a9;
 --line:1px solid #343940;--right:#5cc98f;--wrong:#f38b81}}
*{box-sizing:border-box} img{display:block} figure,ol,dl,dd{margin:0} ol{padding:0;list-style:none}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,sans-serif;
 font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%;overflow-wrap:anywhere}
main{max-width:62rem;margin:auto;padding:3rem clamp(1rem,4vw,2rem) 5rem} .wide{overflow-x:auto}
h1,h2,h3{margin:0 0 1rem;font-size:1.2rem;font-weight:600;line-height:1.25} h1{font-size:1.75rem}
h3{margin-top:2rem;font-size:1rem} section{margin-top:3rem;padding-top:2rem;border-top:var(--line)}
p,figcaption{margin:0 0 .75rem;max-width:42rem;color:var(--quiet);font-size:.875rem}
dt{color:var(--quiet);font-size:.8125rem} .plot{width:100%;max-width:32rem;height:auto}
.facts,.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));
 gap:1.25rem 2rem} table{border-collapse:collapse;font-size:.9375rem;overflow-wrap:normal}
th,td{padding:.45rem 0 .45rem clamp(.75rem,3vw,2rem);border-bottom:var(--line);
 font-weight:400;text-align:right;vertical-align:baseline}
th:first-child{padding-left:0;text-align:left}
thead th,.headline tbody tr:first-child>*{font-weight:600}
.tile{width:var(--tile);height:auto;image-rendering:var(--rendering)}
.queries>li{display:grid;grid-template-columns:auto 1fr;gap:1.25rem;padding:1rem 0}
.queries>li+li{border-top:var(--line)} .query{padding:4px 1.25rem 0 0;border-right:var(--line)}
.query .note{width:max(var(--tile),4.5rem);margin-top:6px} .pairs .tile+.tile{margin-top:4px}
.neighbours,.pairs,.draws{display:flex;flex-wrap:wrap;align-content:start;gap:1rem .5rem}
.draws{padding-top:4px}
.neighbours .tile{box-sizing:content-box;padding:2px;border:2px solid var(--right)}
.neighbours li{width:calc(var(--tile) + 8px)} .wrong .tile{border:2px dashed var(--wrong)}
.unmarked .tile{border-color:transparent}
.matrix{font-size:.8125rem} .matrix th,.matrix td{padding:.3rem 0 .3rem .75rem}
.matrix table{font-size:inherit;border-collapse:separate;border-spacing:0;white-space:nowrap}
.matrix th:first-child{position:sticky;left:0;padding-left:0;background:var(--page)}
figure+.wide,.plots+.wide,.facts+.wide{margin-top:1.5rem}
b{color:var(--ink);font-weight:500} .mark{color:var(--right)} .wrong .mark{color:var(--wrong)}
.note{margin-top:2px;color:var(--quiet);font-size:.75rem;line-height:1.4} .note b{display:block}
@media (max-width:40rem){.queries>li{grid-template-columns:1fr;gap:.75rem}
 .query{display:flex;align-items:start;gap:.75rem;padding:0;border:0}
 .query .note{width:auto}
 table{font-size:.8125rem} .wide:not(.matrix) th:first-child{min-width:6rem}
 td,th:not(:first-child){padding-left:.5rem}
 .neighbours{display:grid;grid-template-columns:repeat(5,minmax(0,1fr));gap:.75rem 5px}
 .neighbours li{width:auto} .neighbours .tile{box-sizing:border-box;width:100%;
 max-width:calc(var(--tile) + 8px)}}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin-top:2rem;font-size:.875rem}
nav a{color:inherit;padding:.25rem 0}
summary{cursor:pointer} pre{overflow-x:auto;font:.8125rem/1.5 ui-monospace,Consolas,monospace}
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{css}</style></head>
<body><main>{body}</main></body></html>
"""
