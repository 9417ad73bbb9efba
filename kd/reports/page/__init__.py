"""The report: one self-contained HTML page of a command's run, or of several side by side."""
