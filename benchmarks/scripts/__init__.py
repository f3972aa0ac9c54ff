"""What is measured inside a process: each script prints its figures as JSON."""
