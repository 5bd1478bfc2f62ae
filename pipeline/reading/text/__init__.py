"""Process the text of abstracts: clean it, find headings and notes, and split it into sentences."""
