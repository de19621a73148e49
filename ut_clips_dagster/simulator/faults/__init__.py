"""What goes wrong on demand: in answers, on the wire, on the connection."""
