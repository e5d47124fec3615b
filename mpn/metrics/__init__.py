"""What is measured after an edit, and along a stream of edits."""
