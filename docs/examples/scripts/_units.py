"""What scripts share; a name that begins with _ is no script itself."""

KILOMETRE = 1000
