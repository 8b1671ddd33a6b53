"""What Python code calls: launch a run, go on with one, read what one left."""
