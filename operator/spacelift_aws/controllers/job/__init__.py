"""Jobs that name this operator in `spec.managedBy` (KEP-4368): each is executed through a Run that it owns."""
