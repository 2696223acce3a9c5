"""State made visible: every view is a Table, so text and HTML never disagree."""
