"""Trained nets in the forms of other runtimes. Each is proved against our own prediction before it is written."""
