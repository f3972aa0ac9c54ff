"""The servers under test: ours, and the same handlers on what ours are held against."""
