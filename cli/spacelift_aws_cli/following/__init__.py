"""A Run while it happens: its status by a watch, its logs by streams, both over connections that break."""
