"""Imported last where processes are forked: what they inherit is not searched for garbage by each of them anew."""

import gc

gc.collect()
gc.freeze()
