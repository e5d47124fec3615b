"""Objectives: each turns one work item into metric values."""
