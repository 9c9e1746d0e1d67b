"""Evaluating what tenants wrote in CEL (cel.dev), so that nobody's expression holds up anybody else's events."""
