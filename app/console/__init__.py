"""The web console: the API's functions as pages, rendered on the server; browsers get no more script than they need.

A page is a route on a router with `route_class=SessionRoute` (session.py), which admits signed-in users and, for a
change, only operators with a form of this console. It returns `page(request, "name.html", ...)` (pages.py), whose
template extends base.html, or `see(request, "/name")` after a change. Its router is in the list of site.py.

- A route may depend on `TheSession`, `TheForm` and the API's `TheDepot` and `ResourceId`; `operators_only` refuses
  readers a page that changes nothing itself.
- A change is `async with audited(...) as act` around a function of app/api/changes.py, which the API's route calls too;
  `filled` (forms.py) converts a form to the API's schema, and `said` words a refusal for the page.
- A form that changes something carries `csrf(session)` (macros.html) and is inside `{% if session.operator %}`;
  `data-confirm` on it asks for confirmation.
- A list has a `Listing` (lists.py) of what its address asks for, whose chips, sortable heads and pages are macros.
- `see(request, "/name", said="…")` says on the next page what became of a change. Times are `moment(time)`.
- Addresses begin with `{{ root }}`; scripts and styles are never inline. The events of live.py update an open page;
  elements there that can have the focus need ids, to keep it.
"""
