"""What trained phases are worth: error counts, significance, tables, plots and pages."""
