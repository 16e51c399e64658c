"""Pretrained networks that several tasks share."""
