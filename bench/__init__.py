"""The benchmark: real processes, real servers, durable settings. `make bench`; docs/performance.md explains the figures."""
