"""Error rates: trials, metrics with intervals, conditions, plots and a report."""
