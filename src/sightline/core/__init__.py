"""What several tasks share. Nothing here knows a task."""
