"""The explorer: a page that shows what runs predict, and why."""
