"""Files that nobody honest wrote: what makes them (forge, mutate), what reads them (readers), and the run (run)."""
