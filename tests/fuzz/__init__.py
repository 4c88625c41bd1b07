"""
What strangers send, thrown at what reads it.

Each target (L{tests.fuzz.targets}) takes bytes, has them read, and checks what
must hold for any bytes whatever.  C{make test} has each read its corpus and
some thousand changed inputs, the same each time; C{make fuzz} has atheris look
for new ones, for as long as one likes.
"""
