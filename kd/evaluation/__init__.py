"""Logits, scores and the intervals behind every reported number."""
