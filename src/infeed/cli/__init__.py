"""The commands: parse, call, print. No logic, and nothing heavy imported before it is needed."""
