"""The process: what it watches, what it remembers of it, in which order it looks at things, and how it is wired."""
