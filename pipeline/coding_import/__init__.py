"""From what reviewers coded in other programs to the coding contract; one module of ``formats`` a program."""
