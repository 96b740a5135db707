"""What is told of an evaluation: tables, plots and one page."""
