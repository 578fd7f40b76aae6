"""The web console: what the API can do, for people. Pages are made here; browsers get no more script than they need.

A page is a route on a router with `route_class=SessionRoute` (session.py), which lets in whoever is signed in, and only
operators with a form of ours where something is changed; it returns `page(request, "name.html", ...)` (pages.py), whose
template extends base.html, or `see(request, "/name")` after a change. The router goes into the list of site.py.

- `TheSession`, `TheForm` and the API's `TheDepot` and `ResourceId` are what a route may ask for; `operators_only` refuses
  readers a page that changes nothing itself.
- A change is `async with audited(...) as act` around a function of app/api/changes.py, which the API's route calls too;
  `filled` (forms.py) makes the API's own shape of a form, and `said` words a refusal for the page.
- A form carries `<input type="hidden" name="csrf" value="{{ csrf }}">`, and stands behind `{% if session.operator %}`.
- Addresses begin with `{{ root }}`; nothing is inline, neither script nor style: console.css has the pieces. `data-copy`
  on a button beside a `<code>` copies it, and `data-live` names the stream of events that renews parts of the page.
"""
