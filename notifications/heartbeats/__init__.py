"""Heartbeats: events that must keep coming, and the events that tell of it when they stay away, and are back."""
