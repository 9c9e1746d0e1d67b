"""Put the running service under strain, and measure what others feel of it: what was lost, how late it came."""
