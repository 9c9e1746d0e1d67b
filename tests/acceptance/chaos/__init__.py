"""Kill a part of the running service in mid-load, and count: what was lost, what came twice, how long it took."""
