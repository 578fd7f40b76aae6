"""The Hub's own protocol: its clients find what the depot keeps, and fetch it, with `HF_ENDPOINT` set to the depot.

A route is a line in routes.py and a function that gets a `Call` (calls.py) and returns a response, or raises a `HubError`
(errors.py). Only ready models are served, and of these only what models' rows say: no path comes from a request.
"""
