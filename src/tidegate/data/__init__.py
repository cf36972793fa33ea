"""Data: files and frames -> tables -> panels of series. In: what a user has. Out: frozen arrays that know nothing of any net.

Read in this order: table.py, times.py, schema.py, panel.py, check.py; the other files are their parts.
"""
