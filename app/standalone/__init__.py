"""`modeldepot up`: a whole depot on one machine, in one folder."""
