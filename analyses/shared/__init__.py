"""What the questions share: the command, its tables, words for numbers, marks on panels, and the rule for verdicts."""
