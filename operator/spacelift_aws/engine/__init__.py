"""What the controller and the workers share: what a process watches, what it remembers, in which order it looks."""
