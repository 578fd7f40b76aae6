"""The web console: what the API can do, for people. Pages are made here; browsers get no more script than they need.

A page is a route on a router with `route_class=SessionRoute` (session.py), which lets in whoever is signed in and, where
something is changed, only operators with a form of ours. It returns `page(request, "name.html", ...)` (pages.py), whose
template extends base.html, or `see(request, "/name")` after a change. Its router stands in the list of site.py.

- `TheSession`, `TheForm` and the API's `TheDepot` and `ResourceId` are what a route may ask for; `operators_only` refuses
  readers a page that changes nothing itself.
- A change is `async with audited(...) as act` around a function of app/api/changes.py, which the API's route calls too;
  `filled` (forms.py) makes the API's own shape of a form, and `said` words a refusal for the page.
- A form that changes something carries `csrf(session)` (macros.html) and stands behind `{% if session.operator %}`;
  `data-confirm` on it asks first.
- Addresses begin with `{{ root }}`; nothing is inline, neither script nor style. What changes while it is looked at is
  swapped in by the events of live.py; give ids to what can have the focus there, and it keeps it.
"""
