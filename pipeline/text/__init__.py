"""The text of an abstract: cleaning, headings, notes, sentences."""
