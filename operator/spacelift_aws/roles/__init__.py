"""All in which the controller and the workers differ."""
